"""How images are normalised, and the map from one normalisation to another."""

from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.attacks.functional import Bounds
from mmbss.engine.errors import ConfigError, one_line

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
        lowest, highest = bounds_of(mean, std)
        self.register_buffer('lowest', lowest)
        self.register_buffer('highest', highest)
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


def normalisation(preprocessor: nn.Module) -> Normalisation:
    """Mean and standard deviation, (C, 1, 1) or (1, 1, 1) in pixel units [0, 255]."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if not isinstance(mean, Tensor) or not isinstance(std, Tensor):
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return mean.detach().float().cpu(), std.detach().float().cpu()


def pixel_bounds(preprocessor: nn.Module, device: torch.device) -> Bounds:
    """Pixels 0 and 255 as a data preprocessor normalises them, (C, 1, 1) or (1, 1, 1) each.

    Raises:
        ConfigError: See :func:`check_normalisation`.
    """
    check_normalisation(preprocessor)
    mean, std = normalisation(preprocessor)
    lowest, highest = bounds_of(mean, std)
    return lowest.to(device), highest.to(device)


def bounds_of(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels 0 and 255, normalised."""
    return (0.0 - mean) / std, (255.0 - mean) / std


def check_normalisation(
    preprocessor: nn.Module, where: str = 'data_preprocessor', keeps_places: bool = False
) -> None:
    """Refuse a data preprocessor that does something else than :func:`normalisation` says.

    It is tried, since what it derives from does not tell what its ``forward`` does.

    Args:
        preprocessor: Any, such as one of somebody's own.
        where: Its path in the config.
        keeps_places: Whether pixels also have to stay where they are, but for what is added to the
            right and below; else it may resize and crop.

    Raises:
        ConfigError: If it makes other values of pixels.
    """
    mean, std = normalisation(preprocessor)
    channels = len(mean) if len(mean) > 1 else 3
    grey = torch.tensor([0, 51, 255]).view(3, 1, 1, 1).expand(3, channels, 64, 64)
    ramp = torch.arange(256).view(1, 1, 16, 16).expand(1, channels, 16, 16)
    pixels = ramp if keeps_places else grey
    expected = (pixels - mean) / std
    kind, reason = type(preprocessor).__name__, ''
    for inputs in (pixels.byte(), [*pixels.byte()]):  # it may take one of what loaders give
        try:
            made = _passed(preprocessor, inputs)
        except Exception as error:  # somebody's own code
            reason = f' ({one_line(error)})'
            continue
        if keeps_places:
            found, wanted = made[..., :16, :16], expected
        else:
            found, wanted = made[..., made.shape[-2] // 2, made.shape[-1] // 2], expected[..., 0, 0]
        if found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-3):
            return
    raise ConfigError(
        f'{where}: {kind} does something else to pixels than subtract its mean and divide by its '
        f'std{reason}, so what is given or exported in pixels would be wrong: take '
        'ClsDataPreprocessor with mean and std in pixels of [0, 255], such as mean=[0.0], '
        'std=[255.0] to divide by 255, and do the rest in the pipeline'
    )


def _passed(preprocessor: nn.Module, inputs: Any) -> Tensor:
    classes = getattr(preprocessor, 'num_classes', None) or 1
    samples = [
        DataSample(metainfo=dict(num_classes=classes)).set_gt_label(0) for _ in range(len(inputs))
    ]
    made = preprocessor(dict(inputs=inputs, data_samples=samples), False)
    return made['inputs'].float().cpu()
