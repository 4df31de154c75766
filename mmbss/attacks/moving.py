"""A batch of samples of which only those that still move are in the passes of the model."""

import torch
from torch import Tensor

from mmbss.attacks.functional import ToLogits


class MovingSamples:
    """Samples on their way, each with the model's logits where it is.

    Samples move until :meth:`keep` leaves them out; from then on they cost nothing. The loop of an
    attack alternates between decisions about those that still move and :meth:`evaluate`::

        moving = MovingSamples(model, samples)
        moving.keep(in_base_class(moving.output, base))
        for _ in range(num_steps):
            if not len(moving.rows):
                break
            gradient = moving.gradient(margin(moving.output, base[moving.rows], ...))
            moving.move(moving.points - gradient)
            moving.evaluate()
            moving.keep(in_base_class(moving.output, base[moving.rows]))

    Args:
        model: Maps (N, ...) inputs to (N, K) logits; evaluated once on all samples.
        samples: (N, ...) float32, where they start; left as they are.

    Attributes:
        samples: (N, ...) float32, where each sample is.
        logits: (N, K) float32, the model's output when it was last evaluated on each.
        steps: (N,) int64, how many gradients were evaluated for each.
        rows: (M,) int64, the samples that still move, in ascending order.
        output: (M, K) float32, the logits of these with the graph that :meth:`gradient` needs.

    Examples:
        >>> moving = MovingSamples(torch.square, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> moving.keep(moving.output[:, 0] > 5)
        >>> moving.rows, moving.gradient(moving.output[:, 0])
        (tensor([1]), tensor([[6., 0.]]))
        >>> moving.move(torch.tensor([[0.0, 1.0]]))
        >>> moving.evaluate()
        >>> moving.logits, moving.steps
        (tensor([[1., 4.],
                [0., 1.]]), tensor([0, 1]))
    """

    def __init__(self, model: ToLogits, samples: Tensor) -> None:
        self.model = model
        self.samples = samples.clone()
        self.rows = torch.arange(len(samples), device=samples.device)
        self.steps = torch.zeros_like(self.rows)
        self._inputs, self._kept = self.points.requires_grad_(), self.rows
        self.output = model(self._inputs).float()
        self.logits = self.output.detach().clone()

    @property
    def points(self) -> Tensor:
        """(M, ...) float32, where those that still move are."""
        return self.samples[self.rows]

    def keep(self, chosen: Tensor) -> None:
        """Go on with some of those that still move: (M,) bool."""
        kept = chosen.nonzero().squeeze(1)
        self.rows, self.output = self.rows[kept], self.output[kept]
        self._kept = self._kept[kept]

    def gradient(self, values: Tensor, retain_graph: bool = False) -> Tensor:
        """Gradient of a value of each sample that still moves with respect to that sample.

        Args:
            values: (M,), computed from ``output``.
            retain_graph: Whether another gradient at the same place follows.

        Returns:
            (M, ...) float32.
        """
        (gradient,) = torch.autograd.grad(values.sum(), self._inputs, retain_graph=retain_graph)
        self.steps[self.rows] += 1
        return gradient[self._kept]

    def move(self, points: Tensor) -> None:
        """Put those that still move to other places: (M, ...)."""
        self.samples[self.rows] = points

    def evaluate(self, with_graph: bool = True) -> None:
        """Pass those that still move through the model; without a graph no gradient can follow."""
        self._inputs = self.points.requires_grad_(with_graph)
        self._kept = torch.arange(len(self.rows), device=self.rows.device)
        self.output = self.model(self._inputs).float()
        self.logits[self.rows] = self.output.detach()
