"""BatchNorm layers of their own for some samples (AdvProp: Xie et al., CVPR 2020, 1911.09665)."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from mmpretrain.models import ImageClassifier
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmbss.engine.errors import ConfigError
from mmbss.losses import Term


def batch_norms(student: ImageClassifier) -> list[nn.Module]:
    """The BatchNorm layers of a student, in the order of its modules."""
    parts = [part for part in (student.backbone, student.neck, student.head) if part is not None]
    return [layer for part in parts for layer in part.modules() if isinstance(layer, _BatchNorm)]


@contextmanager
def swapped(layers: list[nn.Module], own: nn.ModuleList) -> Iterator[None]:
    """Let layers normalise with the weights and the statistics of others, and update these.

    The layers stay in their place, with their hooks and their mode; afterwards they have their own
    weights and statistics back, untouched.

    Args:
        layers: BatchNorm layers of a network.
        own: As many, of the same kinds.

    Examples:
        >>> import torch
        >>> layer, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        >>> with swapped([layer], nn.ModuleList([other])):
        ...     _ = layer(torch.ones(3, 2))
        >>> layer.running_mean, other.running_mean
        (tensor([0., 0.]), tensor([0.1000, 0.1000]))
    """
    before = [(layer._parameters, layer._buffers) for layer in layers]
    for layer, other in zip(layers, own, strict=True):
        layer._parameters, layer._buffers = other._parameters, other._buffers
    try:
        yield
    finally:
        for layer, (parameters, buffers) in zip(layers, before, strict=True):
            layer._parameters, layer._buffers = parameters, buffers


def add_own_layers(terms: Mapping[str, Term], student: ImageClassifier) -> None:
    """Give each term that needs it BatchNorm layers of its own, copies of the student's.

    Raises:
        ConfigError: If the student has none.
    """
    for name, term in terms.items():
        if not term.needs_own_batch_norm:
            continue
        layers = batch_norms(student)
        if not layers:
            raise ConfigError(
                f"{name}: batch_norm='separate', but the student has no BatchNorm layer: leave it "
                'out'
            )
        term.own_batch_norms = nn.ModuleList(copy.deepcopy(layer) for layer in layers)


def start_own_layers(terms: Mapping[str, Term], student: ImageClassifier) -> None:
    """Let these layers begin where those of the student stand now, with what has been loaded."""
    for term in terms.values():
        if term.needs_own_batch_norm:
            for layer, own in zip(batch_norms(student), own_layers(term), strict=True):
                own.load_state_dict(layer.state_dict())


@contextmanager
def own_layers_of(term: Term, student: ImageClassifier) -> Iterator[None]:
    """Let the student normalise with the BatchNorm layers of a term, if it has some."""
    if not term.needs_own_batch_norm:
        yield
        return
    with swapped(batch_norms(student), own_layers(term)):
        yield


def own_layers(term: Term) -> nn.ModuleList:
    """The BatchNorm layers of a term that needs its own."""
    return cast(nn.ModuleList, term.own_batch_norms)
