"""What attacks share that move samples along straight lines toward other inputs."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult, Partners
from mmbss.attacks.functional import Bounds, ToLogits, has_softmax, per_sample, project

#: Maps (M,) rows and (M,) shares of their lines to the (M, ...) points and the (M, K) logits there.
AskOnLines = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Found(NamedTuple):
    """What a search on some of the lines has found.

    Attributes:
        rows: (M,) int64, which lines.
        points: (M, ...) float32.
        logits: (M, K) float32, the model's on them.
        target: (M,) int64, the other class there.
    """

    rows: Tensor
    points: Tensor
    logits: Tensor
    target: Tensor


class PartnerAttack(Attack):
    """Looks for a point on the straight line from each sample to its partner.

    Forward passes are all it takes, and of these the model's decisions where nothing else is said:
    the model may be a function without gradient. ``steps``, which counts gradients, is 0. A sample
    that has no partner, or for which nothing is found, is returned as it was and rejected.

    Without ``partners``, one is drawn for each sample among those of the batch that the model puts
    in its target class, for one more forward pass. Subclasses implement :meth:`search`.
    """

    needs_partners = True
    needs_gradient = False

    @torch.no_grad()
    def run(
        self,
        model: ToLogits,
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None,
        partners: Partners | None = None,
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        if partners is None:
            logits = model(samples)
            rows = partners_in_batch(logits.argmax(dim=1), target)
            partners = Partners(samples[rows], logits, logits=logits[rows])
        ends = partners.inputs.float()

        def ask(rows: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
            points = project(between(samples[rows], ends[rows], shares), bounds)
            return points, model(points).float()

        samples, target = samples.clone(), target.clone()
        logits = partners.base_logits.float().clone()
        success = torch.zeros_like(base, dtype=torch.bool)
        has_line = (ends != samples).flatten(1).any(dim=1)
        rows = self.startable(has_line, logits, base).nonzero().squeeze(1)
        if len(rows):
            found = self.search(ask, rows, base[rows], target[rows], partners)
            samples[found.rows], logits[found.rows] = found.points, found.logits
            target[found.rows] = found.target
            success[found.rows] = has_softmax(found.logits)
        return AttackResult(samples, logits, base, target, success, torch.zeros_like(base))

    def startable(self, has_line: Tensor, base_logits: Tensor, base: Tensor) -> Tensor:
        """On which lines there is anything to look for: (N,) bool."""
        return has_line

    @abstractmethod
    def search(
        self, ask: AskOnLines, rows: Tensor, base: Tensor, target: Tensor, partners: Partners
    ) -> Found:
        """Look for a point on some of the lines.

        Args:
            ask: Puts points of lines to the model.
            rows: (M,) int64, the lines; M > 0.
            base: (M,) int64, the class each begins in.
            target: (M,) int64, the class of its partner.
            partners: Of all samples.
        """


def between(samples: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Points on straight lines: (N, ...) samples at a share of 0, (N, ...) ends at 1; (N,) shares.

    Examples:
        >>> import torch
        >>> between(torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 0.0]]), torch.tensor([0.25]))
        tensor([[1.0000, 1.5000]])
    """
    return samples + per_sample(shares, samples) * (ends - samples)


def other_class(logits: Tensor, base: Tensor, target: Tensor) -> Tensor:
    """The class that was reached; the target class where that is still the base class: (N,)."""
    reached = logits.argmax(dim=1)
    return torch.where(reached == base, target, reached)


def partners_in_batch(decisions: Tensor, target: Tensor) -> Tensor:
    """Draw a sample of each target class.

    Args:
        decisions: (N,) int64 classes of the samples.
        target: (N,) int64 classes that are wanted.

    Returns:
        (N,) int64 rows; that of the sample itself where there is none of its target class.

    Examples:
        >>> import torch
        >>> partners_in_batch(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]))
        tensor([2, 1, 2])
    """
    itself = torch.eye(len(target), dtype=torch.bool, device=target.device)
    wanted = decisions.unsqueeze(0) == target.unsqueeze(1)
    wanted = torch.where(wanted.any(dim=1, keepdim=True), wanted, itself)
    if not len(target):
        return target
    return torch.multinomial(wanted.float(), num_samples=1).squeeze(1)
