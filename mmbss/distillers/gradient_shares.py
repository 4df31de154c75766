"""How much of the gradient comes from which term, measured at the student's logits.

The magnitude of a loss is the sum, over the rows of the logits that it looks at, of the L2 norm of
its gradient there; of a loss that is a mean over samples, this is the mean norm of a sample. For
cross-entropy at temperature T a row of it is ``(q_s - q_t) / T``, with q the softmax at T.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmbss.engine.errors import ConfigError


def gradient_magnitude(loss: Tensor, logits: Sequence[Tensor]) -> Tensor | None:
    """Sum of the norms of the rows of a loss's gradient at logits.

    Args:
        loss: A scalar, whose graph stays usable.
        logits: (N, K) tensors of any floating dtype and number of rows, in that graph or not.

    Returns:
        A float32 scalar without gradient; None where the loss does not depend on these logits.

    Examples:
        >>> logits = torch.zeros(2, 2, requires_grad=True)
        >>> gradient_magnitude(logits[0, 0] * 3, [logits])
        tensor(3.)
    """
    if not loss.requires_grad:
        return None
    asked = [each for each in logits if each.requires_grad]
    # of a mean over many samples, gradients in half precision would vanish without a scale
    scale = max(len(each) for each in logits)
    gradients = torch.autograd.grad(
        loss, asked, torch.full_like(loss, scale), retain_graph=True, allow_unused=True
    )
    norms = [gradient.float().norm(dim=1).sum() for gradient in gradients if gradient is not None]
    return torch.stack(norms).sum() / scale if norms else None


def weights_for_shares(
    magnitudes: Mapping[str, Tensor], shares: Mapping[str, float]
) -> dict[str, Tensor]:
    """Weights with which terms get given shares of the total magnitude.

    With ``S`` the sum of the shares ``s_i`` and ``F`` the magnitude of all other terms, the total
    is ``F / (1 - S)``, so ``w_i = s_i F / ((1 - S) m_i)``. A term without a gradient (it may have
    found no sample) has no share to be given: its weight is 0, and S is that of the rest. Where no
    other term has a gradient, the weights are 1.

    Args:
        magnitudes: Scalars of all terms by name; of those with a share at weight 1.
        shares: By name, each in (0, 1), below 1 together.

    Returns:
        Scalars by the names of ``shares``.

    Examples:
        >>> magnitudes = dict(kd=torch.tensor(2.0), cls=torch.tensor(1.0), bss=torch.tensor(4.0))
        >>> weights_for_shares(magnitudes, dict(bss=0.25))
        {'bss': tensor(0.2500)}
    """
    nothing = torch.zeros_like(next(iter(magnitudes.values())))
    fixed = sum((each for name, each in magnitudes.items() if name not in shares), nothing)
    given = {name: share * (magnitudes[name] > 0) for name, share in shares.items()}
    total = fixed / (1 - sum(given.values()))
    weights = {}
    for name, share in given.items():
        weight = share * total / magnitudes[name].clamp(min=torch.finfo(torch.float32).tiny)
        weights[name] = torch.where(total > 0, weight, 1.0)
    return weights


def as_shares(magnitudes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each magnitude as a share of their sum; 0 where all are 0."""
    total = torch.stack(list(magnitudes.values())).sum()
    return {name: torch.where(total > 0, value / total, 0.0) for name, value in magnitudes.items()}


def check_share(share: Any, loss_weight: float, name: str) -> None:
    """Refuse a share that is out of its range, or has a weight of the same term beside it.

    Raises:
        ConfigError: Naming the term.
    """
    if not (isinstance(share, int | float) and 0 < share < 1):
        raise ConfigError(f'{name}: share is one of the gradient, in (0, 1), got {share!r}')
    if loss_weight != 1:
        raise ConfigError(
            f'{name}: share={share} sets the weight in every step, so loss_weight={loss_weight} '
            'would not be used: set loss_weight=1, or share=None'
        )


def check_shares(shares: Mapping[str, float]) -> None:
    """Refuse shares that leave nothing to the other terms.

    Raises:
        ConfigError: If they sum to 1 or more.
    """
    if (total := sum(shares.values())) >= 1:
        raise ConfigError(
            f'losses: the shares of {", ".join(shares)} sum to {total:g}: the other terms need '
            'something too, so let them sum to less than 1'
        )


def share_gradient(
    losses: Mapping[str, Tensor],
    seen: Mapping[str, Sequence[Tensor]],
    shares: Mapping[str, float],
    log_shares: bool = False,
) -> dict[str, Tensor]:
    """Weigh losses so that they have given shares of the gradient at the logits.

    Nothing is remembered from step to step. The magnitudes are those of one forward pass, also
    where gradients are accumulated, summed over the processes, which so have equal weights.

    Args:
        losses: Scalars by name, as they are in the log of a step.
        seen: (N, K) logits of the student that each of the losses looks at, ``'loss_cls'`` among
            them, which stands for all that the head has put out.
        shares: See :func:`weights_for_shares`; of losses whose weight is 1.
        log_shares: Whether to log the share of each loss.

    Returns:
        The losses that are weighed anew, their weights as ``weight_<name>``, and each share as
        ``<name>_share``; of a loss that does not depend on the logits there is none.

    Raises:
        ConfigError: If a loss that is to have a share has no gradient at the logits.
    """
    of_head = [value for name, value in losses.items() if 'loss' in name and name not in seen]
    if 'loss_cls' in losses:
        of_head.append(losses['loss_cls'])
    parts = {name: losses[name] for name in seen if name != 'loss_cls'}
    parts['loss_cls'] = torch.stack(of_head).sum()
    measured = {name: gradient_magnitude(loss, seen[name]) for name, loss in parts.items()}
    # a loss of 0 has found nothing to learn from this time
    without = [name for name, loss in parts.items() if measured[name] is None and loss != 0]
    if refused := [name for name in shares if name in without]:
        raise ConfigError(
            f'losses: {", ".join(refused)} can have no share of the gradient at the logits, on '
            'which it does not depend: set its loss_weight instead'
        )
    nothing = parts['loss_cls'].new_zeros((), dtype=torch.float32)
    together = torch.stack([nothing if each is None else each for each in measured.values()])
    all_reduce(together)
    magnitudes = dict(zip(measured, together, strict=True))
    weights = weights_for_shares(magnitudes, shares)
    changed = {name: weight * losses[name] for name, weight in weights.items()}
    for name, weight in weights.items():
        magnitudes[name] = weight * magnitudes[name]
        changed[f'weight_{short(name)}'] = weight
    if log_shares:
        shown = {name: value for name, value in magnitudes.items() if name not in without}
        for name, share in as_shares(shown).items():
            changed[f'{short(name)}_share'] = share
    return changed


def short(name: str) -> str:
    """A loss as it is called in the log, where "loss" would make mmengine sum it."""
    return name.removeprefix('loss_')
