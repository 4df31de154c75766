"""The boundary between two images."""

import torch
from torch import Tensor

from mmbss.attacks.base import Partners
from mmbss.attacks.functional import in_base_class
from mmbss.attacks.partners import AskOnLines, Found, PartnerAttack, other_class
from mmbss.attacks.root_search import bisect
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least
from mmbss.registry import ATTACKS


@ATTACKS.register_module()
class SegmentAttack(PartnerAttack):
    """Finds where the straight line to an image of another class leaves the base class.

    A bisection brackets the boundary, and the sample is the end of the bracket that lies beyond it,
    at most ``2 ** -num_passes`` of the line away. Whatever class begins there is accepted: it
    becomes the target. A sample that does not start in its base class is rejected, and so is one
    whose boundary lies in the last part of the line, where only the partner itself is beyond it.

    Unlike a short adversarial perturbation, such a point looks like both images. Samples are
    searched as in decision-based attacks (Brendel et al., ICLR 2018, arXiv 1712.04248, begin so).

    Args:
        num_passes: Forward passes of the bisection for a sample.
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

    def __init__(self, num_passes: int = 6, spread: float = 0.0) -> None:
        check_at_least(self, 1, num_passes=num_passes)
        if not 0 <= spread <= 1:
            raise ConfigError(f'SegmentAttack: spread must be in [0, 1], got {spread}')
        self.num_passes = num_passes
        self.spread = spread

    def startable(self, has_line: Tensor, base_logits: Tensor, base: Tensor) -> Tensor:
        """See :meth:`PartnerAttack.startable`."""
        return has_line & in_base_class(base_logits, base)

    def search(
        self, ask: AskOnLines, rows: Tensor, base: Tensor, target: Tensor, partners: Partners
    ) -> Found:
        """See :meth:`PartnerAttack.search`."""
        points, logits = torch.empty(0), torch.empty(0)

        def is_beyond(shares: Tensor) -> Tensor:
            nonlocal points, logits
            here, answers = ask(rows, shares)
            beyond = ~in_base_class(answers, base)
            # of each line the last point beyond the boundary is the closest to it
            points = _replace(points, here, beyond)
            logits = _replace(logits, answers, beyond)
            return beyond

        lower, upper = bisect(is_beyond, rows, self.num_passes)
        crossed = (upper < 1).nonzero().squeeze(1)
        rows, points, logits = rows[crossed], points[crossed], logits[crossed]
        target = other_class(logits, base[crossed], target[crossed])
        if self.spread and len(rows):
            shift = self.spread * (2 * torch.rand_like(lower) - 1)
            shares = ((lower + upper) / 2 + shift).clamp(0, 1)
            points, logits = ask(rows, shares[crossed])
        return Found(rows, points, logits, target)


def _replace(old: Tensor, new: Tensor, chosen: Tensor) -> Tensor:
    """The new rows where chosen, (N,) bool, the old ones elsewhere; all new at first."""
    if not len(old):
        return new
    return torch.where(chosen.view(-1, *[1] * (new.ndim - 1)), new, old)
