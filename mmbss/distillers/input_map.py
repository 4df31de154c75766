"""From the student's normalisation to the teacher's, and back."""

import torch
from torch import Tensor, nn

from mmbss.attacks.functional import Bounds

Normalisation = tuple[Tensor, Tensor]


class InputMap(nn.Module):
    """Maps ``x_teacher = (x_student * student_std + student_mean - mean) / std``.

    Args:
        own: Mean and standard deviation of the teacher, (C, 1, 1) or (1, 1, 1) each, in pixels of
            [0, 255].
        of_student: The same of the student.
        reverse_channels: Whether the teacher wants the channels in the reverse order.

    Examples:
        >>> half, one = torch.full((1, 1, 1), 127.5), torch.ones(1, 1, 1)
        >>> to_teacher = InputMap((half, half), (0 * one, one), reverse_channels=False)
        >>> to_teacher(torch.tensor([[[[0.0, 255.0]]]]))
        tensor([[[[-1.,  1.]]]])
    """

    scale: Tensor
    shift: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(
        self, own: Normalisation, of_student: Normalisation, reverse_channels: bool
    ) -> None:
        super().__init__()
        (mean, std), (student_mean, student_std) = own, of_student
        if reverse_channels:
            student_mean, student_std = student_mean.flip(0), student_std.flip(0)
        self.register_buffer('scale', student_std / std)
        self.register_buffer('shift', (student_mean - mean) / std)
        self.register_buffer('lowest', (0.0 - mean) / std)
        self.register_buffer('highest', (255.0 - mean) / std)
        self.reverse_channels = reverse_channels
        self.is_identity = not reverse_channels and bool(
            torch.equal(mean, student_mean) and torch.equal(std, student_std)
        )

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest input of the teacher, (C, 1, 1) each: pixels 0 and 255."""
        return self.lowest, self.highest

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) inputs of the student to the teacher's normalisation."""
        if self.is_identity:
            return inputs
        if self.reverse_channels:
            inputs = inputs.flip(1)
        return inputs * self.scale + self.shift

    def back(self, inputs: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        if self.is_identity:
            return inputs
        inputs = (inputs - self.shift) / self.scale
        return inputs.flip(1) if self.reverse_channels else inputs
