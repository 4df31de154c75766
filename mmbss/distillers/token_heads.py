"""Heads with a class token and a distillation token (Touvron et al. 2021, arXiv 2012.12877).

Each token has a layer of its own that gives (N, K) logits; deployed, a head gives their mean. While
it trains, the class token learns from the labels, and the distillation token from the teacher.
mmpretrain has such heads for inference alone.
"""

from collections.abc import Mapping
from typing import Any

from mmpretrain.models import heads
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss, Term
from mmbss.teachers.features import outputs_of

#: What stands for the path of the distillation token's layer, whichever kind the head is of.
BY_KIND = 'token'
#: Paths, within a head, of the layers of its class token and of its distillation token.
LAYERS: dict[type[nn.Module], tuple[str, str]] = {
    heads.DeiTClsHead: ('layers.head', 'layers.head_dist'),
    heads.LeViTClsHead: ('head', 'head_dist'),
    heads.EfficientFormerClsHead: ('head', 'dist_head'),
}


def token_layers(head: nn.Module) -> tuple[str, str] | None:
    """Paths, within a head, of the layers of its two tokens; None where it has but one.

    Examples:
        >>> token_layers(heads.DeiTClsHead(num_classes=10, in_channels=4))
        ('layers.head', 'layers.head_dist')
    """
    for kind, paths in LAYERS.items():
        if isinstance(head, kind) and paths[1] in dict(head.named_modules()):
            return paths
    return None


def connect_tokens(terms: Mapping[str, Term], head: nn.Module) -> bool:
    """Let terms that look at the logits of another layer than the head's find that layer.

    Args:
        terms: By name; what they look at is recorded from now on.
        head: The student's.

    Returns:
        Whether one of them looks at the distillation token of the head.

    Raises:
        ConfigError: If a term looks at a token that the head does not have, or no term at one
            without which mmpretrain cannot train the head.
    """
    layers = token_layers(head)
    token = layers and f'head.{layers[1]}'
    looking = {
        name: term
        for name, term in terms.items()
        if isinstance(term, DistillationLoss) and term.student_logits is not None
    }
    for name, term in looking.items():
        if term.student_logits == BY_KIND:
            if token is None:
                raise ConfigError(
                    f'{name}: student_logits={BY_KIND!r} stands for the distillation token of a '
                    f'DeiTClsHead, LeViTClsHead or EfficientFormerClsHead, but the head is a '
                    f'{type(head).__name__} without one: give the path of a layer instead'
                )
            term.student_logits = token
        term.layers['student'] = [str(term.student_logits)]
    is_learned = token in {term.student_logits for term in looking.values()}
    if token and not is_learned and not isinstance(head, heads.DeiTClsHead):
        raise ConfigError(
            f'nothing trains the distillation token of the {type(head).__name__}: add a term '
            f"such as loss_token=dict(type='mmbss.KDLoss', student_logits={BY_KIND!r}) to losses, "
            'or set head.distillation=False'
        )
    return is_learned


def class_token_loss(
    head: Any, features: Any, data_samples: list[DataSample]
) -> tuple[dict[str, Tensor], Tensor]:
    """Losses of a head of which the class token alone learns from the labels, and its logits.

    Args:
        head: One with two tokens that says, also while it trains, what it says when deployed.
        features: What the student's ``extract_feat`` gives.
        data_samples: N samples with labels.
    """
    layers = token_layers(head)
    assert layers is not None
    with outputs_of(head.get_submodule(layers[0])) as (outputs, _):
        deployed = head(features)
    losses = head._get_loss(outputs[0], data_samples)
    # DDP waits for a gradient of the other layer, also while the term that trains it has no weight
    losses['loss'] = losses['loss'] + 0 * deployed.sum()
    return losses, outputs[0]
