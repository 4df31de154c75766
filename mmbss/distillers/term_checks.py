"""Whether terms do as they promise, which those of somebody's own may not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmbss.distillers.gradient_shares import short
from mmbss.engine.build import accepted_keys, is_known
from mmbss.engine.errors import ConfigError, refuse
from mmbss.engine.randomness import unchanged_randomness
from mmbss.losses import FeatureLoss, TeacherBatch, Term

Losses = dict[str, Tensor]


def checked(name: str, term: Term, computed: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """What a term has computed: a loss, and what to log.

    Raises:
        ConfigError: If it is anything else, or something for the log has a name that would be
            added to the loss, or that the term does not list.
    """
    kind = type(term).__name__
    is_pair = isinstance(computed, tuple) and len(computed) == 2 and isinstance(computed[1], dict)
    loss, statistics = computed if is_pair else (None, {})
    scalars = [loss, *statistics.values()]
    if not all(isinstance(each, Tensor) and each.numel() == 1 for each in scalars):
        raise ConfigError(
            f'losses.{name}: {kind} must return a loss, and compute a pair of it and a dict for '
            'the log, each a tensor of one number: take the mean over the samples, and {} where '
            'there is nothing to log'
        )
    wrong = [key for key in statistics if 'loss' in key or key not in term.statistics]
    if wrong:
        raise ConfigError(
            f'losses.{name}: {kind} logs {", ".join(map(repr, wrong))}: list it in its statistics, '
            'under a name without "loss", which mmengine would add to the loss'
        )
    # mmengine would go on logging the last value of what is left out
    missing = [key for key in term.statistics if key not in statistics]
    assert loss is not None
    return loss, statistics | {key: loss.detach().new_zeros(()) for key in missing}


def check_brought(name: str, term: Term, brought: Any, inputs: Tensor) -> None:
    """Refuse what a term brings, if the student cannot be asked about it beside the clean inputs.

    Raises:
        ConfigError: With what it must bring.
    """
    found = getattr(brought, 'inputs', None)
    if brought is not None and (
        not isinstance(found, Tensor) or found.shape[1:] != inputs.shape[1:]
    ):
        raise ConfigError(
            f'losses.{name}: {type(term).__name__}.bring must return None, or an object whose '
            f'inputs are a tensor of shape (M, {", ".join(map(str, inputs.shape[1:]))})'
        )


@contextmanager
def left_as_it_is(name: str, term: Term, batch: TeacherBatch) -> Iterator[None]:
    """Let a term look at a batch, of which others are still to learn.

    Raises:
        ConfigError: If it has changed a tensor of the batch in place.
    """
    before = [(key, value, value._version) for key, value in tensors_of(batch)]
    yield
    for key, value, version in before:
        if value._version != version:
            raise ConfigError(
                f'losses.{name}: {type(term).__name__} changes {key} of the batch in place, from '
                'which other terms learn: change a copy of it, as in x = x / 2 instead of x /= 2'
            )


def tensors_of(batch: TeacherBatch) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch whose changes torch counts; of others it allows none."""
    for key, value in vars(batch).items():
        if isinstance(value, TeacherBatch):
            yield from tensors_of(value)
        for tensor in value.values() if isinstance(value, dict) else [value]:
            if isinstance(tensor, Tensor) and not tensor.is_inference():
                yield key, tensor


def check_learnt(
    learn: Callable[[], Losses], terms: Mapping[str, Term], student: Sequence[Tensor]
) -> Losses:
    """Losses of a batch, if something is learnt from each, as much as its weight says.

    Those of somebody's own that take a weight are computed a second time, with another one.

    Args:
        learn: Gives all losses of the batch.
        terms: Each of them by its name.
        student: Parameters of the student that learn.

    Raises:
        ConfigError: If a loss has no gradient, or none at the student, does not depend on its
            ``loss_weight``, or twice, or is to have a share of nothing.
    """
    # a share is whatever the weight is; and a term may weigh itself, or learn to
    own = {
        name: term
        for name, term in terms.items()
        if not is_known(type(term))
        and term.share is None
        and 'loss_weight' in accepted_keys(type(term))
        and isinstance(term.loss_weight, int | float)
    }
    with unchanged_randomness():
        losses = learn()
    refuse(
        f'losses.{name}: {type(term).__name__} has no gradient, so nothing would be learnt from '
        'it: correct the layers that it looks at, which may be frozen, or leave out detach() and '
        'no_grad() there'
        for name, term in terms.items()
        if losses[name] != 0 and not losses[name].requires_grad
    )
    refuse(
        f'losses.{name}: from {type(term).__name__} its own weights alone would learn: leave out '
        'detach() and no_grad() around what is of the student'
        for name, term in terms.items()
        if student and learns_alone(term, losses[name], student)
    )
    # a later step may have nothing to share with, such as where the others' weights have come to 0
    refuse(
        f'losses.{name}: beside it no loss has a gradient at the logits and a weight, so there is '
        f'nothing of which share={term.share} could be one: give another a loss_weight'
        for name, term in terms.items()
        if term.share is not None and losses.get(f'weight_{short(name)}') == 1
    )
    if not own:
        return losses
    with unchanged_randomness(), weighed_otherwise(own):
        others = learn()
    refuse(
        f'losses.{name}: {type(term).__name__} is the same with another loss_weight, so weights '
        'and schedules would do nothing: multiply what it returns by self.loss_weight'
        for name, term in own.items()
        if losses[name] != 0 and bool(losses[name] == others[name])
    )
    refuse(
        f'losses.{name}: {type(term).__name__} weighs itself, but a FeatureLoss is multiplied by '
        'its loss_weight already: leave it out of compare'
        for name, term in own.items()
        if isinstance(term, FeatureLoss)
        and term.loss_weight != 0
        and others[name] > 3 * losses[name] > 0
    )
    return losses


def learns_alone(term: Term, loss: Tensor, student: Sequence[Tensor]) -> bool:
    """Whether a term with weights has a gradient at none of the student's."""
    if not loss.requires_grad or is_known(type(term)) or not any(True for _ in term.parameters()):
        return False
    gradients = torch.autograd.grad(loss, student, retain_graph=True, allow_unused=True)
    return all(gradient is None for gradient in gradients)


@contextmanager
def weighed_otherwise(terms: Mapping[str, Term]) -> Iterator[None]:
    """Give terms another weight for a while."""
    weights = {name: term.loss_weight for name, term in terms.items()}
    try:
        for term in terms.values():
            term.loss_weight = 2 * term.loss_weight or 1.0
        yield
    finally:
        for name, term in terms.items():
            term.loss_weight = weights[name]
