"""The Jacobian-based saliency map attack (Papernot et al. 2016, arXiv 1511.07528)."""

import torch
from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult, accept
from mmbss.attacks.functional import (
    Bounds,
    ToLogits,
    ends,
    in_base_class,
    in_target_class,
    project,
)
from mmbss.attacks.moving import MovingSamples
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_choice
from mmbss.registry import ATTACKS


@ATTACKS.register_module()
class JSMAAttack(Attack):
    """Changes few values of each sample, two at a time, until the target class wins.

    The two are those whose change raises the target class and lowers the sum of all others
    most, as the product of the two effects (algorithm 3 of the paper). A value at its bound is
    not changed any more. A sample is rejected where no pair does both, where the pairs are used
    up, or where it does not start in its base class.

    This implementation attacks whole batches, with two gradients a pair whatever the number of
    classes, and finds the best pair without looking at all of them.

    Args:
        theta: Change of a value, as a share of the way between its bounds: 1 sets it to the
            highest value, -1 to the lowest.
        gamma: Most values changed, as a share of all values of a sample.
        output: Whose gradients are the Jacobian: ``'logits'``, as published, or ``'softmax'``,
            as defensive distillation was evaluated (arXiv 1511.04508). Where the softmax
            saturates, its gradients vanish and the attack finds nothing; Carlini and Wagner
            (arXiv 1608.04644) show that this is no defence.

    Raises:
        ConfigError: If a parameter is out of its range; on a call without bounds.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(3, 2, bias=False).eval()
        >>> model.weight.data = torch.tensor([[1.0, -0.5, -0.5], [0.2, 0.7, 0.3]])
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> attack = JSMAAttack(gamma=0.7)
        >>> result = attack(model, torch.tensor([[0.9, 0.0, 0.0]]), base, target, (0.0, 1.0))
        >>> result.samples, result.success
        (tensor([[0.9000, 1.0000, 1.0000]]), tensor([True]))
    """

    def __init__(self, theta: float = 1.0, gamma: float = 0.145, output: str = 'logits') -> None:
        if not 0 < abs(theta) <= 1:
            raise ConfigError(f'JSMAAttack: theta must be in [-1, 1] and not 0, got {theta}')
        if not 0 < gamma <= 1:
            raise ConfigError(f'JSMAAttack: gamma must be in (0, 1], got {gamma}')
        check_choice(self, ('logits', 'softmax'), output=output)
        self.theta = theta
        self.gamma = gamma
        self.output = output

    def run(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        lowest, highest = (
            bound.expand(samples.shape[1:]).flatten()
            for bound in ends(bounds, samples, 'JSMAAttack goes from one bound to the other')
        )
        change = self.theta * (highest - lowest)
        sign = 1.0 if self.theta > 0 else -1.0
        moving = MovingSamples(model, project(samples, bounds))
        moving.keep(in_base_class(moving.output, base))
        num_pairs = int(self.gamma * change.numel() / 2)
        if not num_pairs:
            raise ConfigError(
                f'JSMAAttack: gamma={self.gamma} of {change.numel()} values is less than a pair, '
                f'so nothing would be changed: set it to {2 / change.numel():.3g} or more'
            )
        for pairs_left in reversed(range(num_pairs)):
            if not len(moving.rows):
                break
            gain, loss = self.saliency(moving, target[moving.rows])
            values = moving.points.flatten(1)
            at_bound = values >= highest if sign > 0 else values <= lowest
            gain = (sign * gain).masked_fill(at_bound, -torch.inf)
            pairs, found_pair = best_pairs(gain, sign * loss)
            moving.keep(found_pair)
            if not len(moving.rows):
                break
            values, pairs = values[found_pair], pairs[found_pair]
            changed = values.gather(1, pairs) + change[pairs]
            values.scatter_(1, pairs, changed.clamp(lowest[pairs], highest[pairs]))
            moving.move(values.view(-1, *samples.shape[1:]))
            moving.evaluate(with_graph=pairs_left > 0)
            rows = moving.rows
            moving.keep(~in_target_class(moving.output, base[rows], target[rows]))
        return accept(
            moving.samples,
            moving.logits,
            base,
            target,
            moving.steps,
            attacked=moving.steps > 0,
            targeted=True,
        )

    def saliency(self, moving: MovingSamples, target: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the target class and of minus the sum of all others: (M, D) each."""
        output = moving.output if self.output == 'logits' else moving.output.softmax(dim=1)
        of_target = output.gather(1, target.unsqueeze(1)).squeeze(1)
        if self.output == 'softmax':
            # probabilities sum to 1
            gain = moving.gradient(of_target).flatten(1)
            return gain, gain
        gain = moving.gradient(of_target, retain_graph=True).flatten(1)
        loss = moving.gradient(of_target - output.sum(dim=1)).flatten(1)
        return gain, loss


def best_pairs(gain: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """Find the pair of values with the largest saliency in each row.

    The saliency of the pair (p, q) is ``(gain_p + gain_q) (loss_p + loss_q)``, where both sums
    have to be positive. A value that two others exceed in gain and in loss can be exchanged for
    one of these in any pair, so only pairs of the few other values are looked at.

    Args:
        gain: (N, D) float32; ``-inf`` excludes a value.
        loss: (N, D) float32.

    Returns:
        (N, 2) int64 indices, and (N,) bool, whether there is such a pair.

    Examples:
        >>> import torch
        >>> gain, loss = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[-1.0, 2.0, 2.0]])
        >>> best_pairs(gain, loss)
        (tensor([[2, 1]]), tensor([True]))
    """
    gain, order = gain.sort(dim=1, descending=True, stable=True)
    loss = loss.gather(1, order)
    # largest and second largest loss among the values with more gain
    first = torch.full_like(loss[:, :1], -torch.inf)
    first = torch.cat([first, loss.cummax(dim=1).values[:, :-1]], dim=1)
    second = torch.minimum(loss, first).cummax(dim=1).values.roll(1, dims=1)
    second[:, :1] = -torch.inf
    candidate = loss > second
    count = max(2, int(candidate.sum(dim=1).max())) if len(gain) else 2
    chosen = candidate.int().topk(count, dim=1).indices
    order, gain, loss = (values.gather(1, chosen) for values in (order, gain, loss))
    gains = gain.unsqueeze(1) + gain.unsqueeze(2)
    losses = loss.unsqueeze(1) + loss.unsqueeze(2)
    same = torch.eye(count, dtype=torch.bool, device=gain.device)
    allowed = (gains > 0) & (losses > 0) & ~same
    score = torch.where(allowed, gains * losses, -torch.inf).flatten(1)
    best, index = score.max(dim=1)
    pairs = order.gather(1, torch.stack([index // count, index % count], dim=1))
    return pairs, best > 0
