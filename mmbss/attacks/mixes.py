"""Mixes of two images that need not lie on the boundary: what boundary samples have to beat.

As many random mixes, labelled by the teacher, are the control of function matching (Beyer et al.,
arXiv 2106.05237); mixes that are chosen are those of active mixup (arXiv 2003.13960).
"""

import torch
from torch import Tensor

from mmbss.attacks.base import Partners
from mmbss.attacks.functional import per_sample
from mmbss.attacks.partners import AskOnLines, Found, PartnerAttack, other_class
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least, check_choice
from mmbss.registry import ATTACKS

CHOICES = ('entropy', 'disagreement')


@ATTACKS.register_module()
class RandomMixAttack(PartnerAttack):
    """Takes a point anywhere on the straight line to an image of another class, uniformly drawn.

    One forward pass, which asks what the model says there. Every sample with a partner is accepted.
    """

    def search(
        self, ask: AskOnLines, rows: Tensor, base: Tensor, target: Tensor, partners: Partners
    ) -> Found:
        """See :meth:`PartnerAttack.search`."""
        points, logits = ask(rows, torch.rand(len(rows), device=rows.device))
        return Found(rows, points, logits, other_class(logits, base, target))


@ATTACKS.register_module()
class ChosenMixAttack(PartnerAttack):
    """Takes, of points evenly spread on the line to an image of another class, the best one.

    Every sample with a partner is accepted.

    Args:
        by: Which is best: where the model's ``'entropy'`` is largest, or the ``'disagreement'``,
            the divergence KL of the student from it; the latter asks the student.
        num_passes: Points tried on each line.

    Raises:
        ConfigError: If a parameter is out of its range; on a call without the student that it asks.
    """

    def __init__(self, by: str = 'entropy', num_passes: int = 6) -> None:
        check_choice(self, CHOICES, by=by)
        check_at_least(self, 1, num_passes=num_passes)
        self.by = by
        self.num_passes = num_passes
        self.needs_student = by == 'disagreement'

    def search(
        self, ask: AskOnLines, rows: Tensor, base: Tensor, target: Tensor, partners: Partners
    ) -> Found:
        """See :meth:`PartnerAttack.search`."""
        best = torch.full(rows.shape, -torch.inf, device=rows.device)
        for number in range(1, self.num_passes + 1):
            share = torch.full_like(best, number / (self.num_passes + 1))
            here, answers = ask(rows, share)
            scores = self.score(here, answers, partners)
            if number == 1:
                points, logits = here, answers
            better = scores > best
            points = torch.where(per_sample(better, here), here, points)
            logits = torch.where(per_sample(better, answers), answers, logits)
            best = torch.where(better, scores, best)
        return Found(rows, points, logits, other_class(logits, base, target))

    def score(self, points: Tensor, logits: Tensor, partners: Partners) -> Tensor:
        """How good points are: (M, ...) points with the model's (M, K) logits to (M,) float32."""
        if self.by == 'entropy':
            return entropy(logits)
        if partners.student is None:
            raise ConfigError(
                "ChosenMixAttack: by='disagreement' asks the student: give partners with one"
            )
        return divergence(logits, partners.student(points))


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax, in nats: (N, K) to (N,) float32.

    Examples:
        >>> import torch
        >>> entropy(torch.zeros(1, 2)), entropy(torch.tensor([[0.0, -torch.inf]]))
        (tensor([0.6931]), tensor([0.]))
    """
    return torch.special.entr(logits.float().softmax(dim=1)).sum(dim=1)


def divergence(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """``KL(q_t || q_s)`` at temperature 1, in nats: (N, K) each to (N,) float32."""
    q_t = teacher_logits.float().softmax(dim=1)
    expected = -(q_t * student_logits.float().log_softmax(dim=1)).where(q_t != 0, 0).sum(dim=1)
    return expected - entropy(teacher_logits)
