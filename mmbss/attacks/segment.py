"""The boundary between two images."""

import torch
from torch import Tensor

from mmbss.attacks.base import Partners
from mmbss.attacks.functional import class_lead, in_base_class, per_sample
from mmbss.attacks.partners import AskOnLines, Found, PartnerAttack, other_class
from mmbss.attacks.root_search import bisect, regula_falsi
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least, check_choice
from mmbss.registry import ATTACKS

CHOICES = ('logits', 'decisions')


@ATTACKS.register_module()
class SegmentAttack(PartnerAttack):
    """Finds where the straight line to an image of another class leaves the base class.

    The boundary is bracketed ever more closely, and the sample is the end of the bracket that lies
    beyond it. Whatever class begins there is accepted: it becomes the target. A sample that does
    not start in its base class is rejected, and so is one for which only the partner itself is
    found beyond the boundary.

    Unlike a short adversarial perturbation, such a point looks like both images. Samples are
    searched as in decision-based attacks (Brendel et al., ICLR 2018, arXiv 1712.04248, begin so).

    Args:
        num_passes: Forward passes for a sample.
        by: What of the model's answers is used: its ``'logits'``, whose values say where to look
            next (:func:`~mmbss.attacks.root_search.regula_falsi`), or its ``'decisions'``, by
            bisection: then a sample is at most ``2 ** -num_passes`` of the line from the boundary,
            with logits 8 times as far where their values mislead, and mostly much closer.
            Where no more than the decisions is known, it is always by these.
        spread: Where above 0, the sample is drawn, for one more pass, uniformly within this share
            of the line from the boundary, on either side.

    Raises:
        ConfigError: If a parameter is out of its range.

    Examples:
        Toward a partner, by decisions alone:

        >>> import torch
        >>> from mmbss.attacks import Partners
        >>> def decide(points):
        ...     return torch.nn.functional.one_hot((points[:, 0] > 0.3).long(), 2)
        >>> samples, base, target = torch.zeros(1, 1), torch.tensor([0]), torch.tensor([1])
        >>> partners = Partners(torch.ones(1, 1), base_logits=decide(samples))
        >>> result = SegmentAttack()(decide, samples, base, target, partners=partners)
        >>> result.success, result.samples
        (tensor([True]), tensor([[0.3125]]))

        With choice of base samples and partners, in a batch of any teacher:

        >>> from mmbss.boundary import find_boundary_samples
        >>> images = torch.rand(32, 1)
        >>> found = find_boundary_samples(
        ...     decide, images, None, SegmentAttack(), base_class='teacher', num_base_samples=8)
        >>> int(found.statistics['queries'])  # 32 images, then 6 passes of 8
        80
    """

    def __init__(self, num_passes: int = 6, spread: float = 0.0, by: str = 'logits') -> None:
        check_choice(self, CHOICES, by=by)
        check_at_least(self, 1, num_passes=num_passes)
        if not 0 <= spread <= 1:
            raise ConfigError(f'SegmentAttack: spread must be in [0, 1], got {spread}')
        self.num_passes = num_passes
        self.spread = spread
        self.by = by

    def startable(self, has_line: Tensor, base_logits: Tensor, base: Tensor) -> Tensor:
        """See :meth:`PartnerAttack.startable`."""
        return has_line & in_base_class(base_logits, base)

    def search(
        self, ask: AskOnLines, rows: Tensor, base: Tensor, target: Tensor, partners: Partners
    ) -> Found:
        """See :meth:`PartnerAttack.search`."""
        points, logits = torch.empty(0), torch.empty(0)

        def lead(shares: Tensor) -> Tensor:
            nonlocal points, logits
            here, answers = ask(rows, shares)
            leads = class_lead(answers, base)
            # of each line the last point beyond the boundary is the closest to it
            points = _replace(points, here, leads < 0)
            logits = _replace(logits, answers, leads < 0)
            return leads

        if self.by == 'logits' and partners.logits is not None:
            at_base = class_lead(partners.base_logits[rows], base)
            at_partner = class_lead(partners.logits[rows], base)
            _, upper = regula_falsi(lead, at_base, at_partner, self.num_passes)
            boundary = upper
        else:
            lower, upper = bisect(lambda shares: lead(shares) < 0, rows, self.num_passes)
            boundary = (lower + upper) / 2
        crossed = (upper < 1).nonzero().squeeze(1)
        rows, points, logits = rows[crossed], points[crossed], logits[crossed]
        target = other_class(logits, base[crossed], target[crossed])
        if self.spread and len(rows):
            shift = self.spread * (2 * torch.rand_like(boundary) - 1)
            shares = (boundary + shift).clamp(0, 1)
            points, logits = ask(rows, shares[crossed])
        return Found(rows, points, logits, target)


def _replace(old: Tensor, new: Tensor, chosen: Tensor) -> Tensor:
    """The new rows where chosen, (N,) bool, the old ones elsewhere; all new at first."""
    if not len(old):
        return new
    return torch.where(per_sample(chosen, new), new, old)
