"""One iteration of the training, from a batch to its losses, read from top to bottom."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_world_size
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbss.distillers.classification import classify
from mmbss.distillers.data_samples import class_labels, has_labels, labels_are_hard
from mmbss.distillers.gradient_shares import share_gradient
from mmbss.distillers.mixing import mix
from mmbss.distillers.split_batch import (
    has_batch_norm,
    has_sync_batch_norm,
    in_head,
    split_batch,
    split_features,
)
from mmbss.distillers.term_checks import check_brought, checked, left_as_it_is
from mmbss.distillers.term_dict import layers_of, logged
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import evaluation_mode
from mmbss.engine.randomness import unchanged_randomness
from mmbss.losses import Batch, Outputs, TeacherBatch, Term
from mmbss.teachers.classifiers import check_same_classes

if TYPE_CHECKING:
    from mmbss.distillers.distiller import Distiller

Losses = dict[str, Tensor]
Terms = dict[str, Term]


def learn(
    distiller: 'Distiller', inputs: Tensor, data_samples: list[DataSample], terms: Terms
) -> Losses:
    """The classification loss of a batch and the given terms.

    Mixup and the like mix the batch; the teacher answers; terms bring further inputs where the
    teacher alone chooses them; the student answers all of it in one pass; each term looks at
    the batch.

    Args:
        distiller: The student with its teacher.
        inputs: (N, C, H, W) images in the student's normalisation.
        data_samples: N samples with their ``gt_label``, or all without.
        terms: What is to be learnt from the teacher, by name.

    Returns:
        Scalars by name, losses and what is to be logged.
    """
    unmixed = inputs, data_samples
    if distiller.batch_augments is not None:
        inputs, data_samples = mix(distiller.batch_augments, inputs, data_samples)
    if not terms:
        features = distiller.extract_feat(inputs)
        losses, _, of_labels = classify(distiller, features, data_samples, distiller.trains_token)
        return losses | shares(distiller, losses, dict(loss_cls=[of_labels]))

    check_labels(unmixed[1], data_samples, terms)
    asked = ask_teacher(distiller, inputs, data_samples, terms)
    needs_unmixed = any(term.needs_unmixed for term in terms.values())
    is_mixed = inputs is not unmixed[0] and not torch.equal(inputs, unmixed[0])
    if needs_unmixed and is_mixed:
        asked = replace(asked, unmixed=ask_teacher(distiller, *unmixed, {}))
    brought = {}
    for name, term in terms.items():
        with left_as_it_is(name, term, asked):
            brought[name] = term.bring(asked)
        check_brought(name, term, brought[name], inputs)
    further = [each.inputs for each in brought.values() if each is not None]
    sizes = [len(inputs), *map(len, further)]

    with distiller.recorder.recording(layers_of(terms, 'student')) as recorded:
        joined = torch.cat([inputs, *further]) if further else inputs
        features, *others = split_batch(distiller.extract_feat(joined), sizes)
        losses, logits, of_labels = classify(
            distiller, features, data_samples, distiller.trains_token
        )
    check_same_classes(logits.shape[1], asked.teacher_logits.shape[1])
    parts = split_features(recorded, sizes)
    ask_student = partial(pass_alone, distiller, terms)
    batch = Batch(
        **vars(asked),
        student_logits=logits,
        student_features=parts[0],
        ask_student=ask_student,
        least_asked=2 if has_batch_norm(distiller) else 1,
    )

    later = iter(zip(others, parts[1:], strict=True))
    # the logits that each loss looks at
    seen = dict(loss_cls=[of_labels])
    seen |= {name: [term.logits_of(batch)] for name, term in terms.items()}
    for name, term in terms.items():
        own = replace(batch, ask_student=partial(_answer, ask_student, seen[name]))
        if brought[name] is not None:
            # unlike the backbone, the head passes them alone: not one, where it has a BatchNorm
            rest, features_of_rest = next(later)
            if get_world_size() > 1 and has_sync_batch_norm(distiller.head):
                raise ConfigError(
                    f'losses.{name}: SyncBN in the head waits for all processes, of which some may '
                    'have no boundary sample: set sync_bn=None'
                )
            passes = len(brought[name].inputs) >= (2 if has_batch_norm(distiller.head) else 1)
            outputs = _classify(distiller, rest, features_of_rest, terms) if passes else None
            own = replace(own, brought=brought[name], brought_outputs=outputs)
            seen[name] += [outputs.logits] if outputs else []
        with left_as_it_is(name, term, own):
            loss, statistics = checked(name, term, term.compute(own))
        if name in losses:
            raise ConfigError(
                f"losses.{name}: the student's {type(distiller.head).__name__} has a loss of that "
                'name of its own: call the term otherwise'
            )
        losses[name] = loss
        losses |= logged(name, statistics)
    return losses | shares(distiller, losses, seen)


def check_labels(unmixed: list[DataSample], mixed: list[DataSample], terms: Terms) -> None:
    """Refuse a batch without the labels that terms need.

    Args:
        unmixed: Its samples before mixup and the like.
        mixed: The same samples after it.
        terms: By name.

    Raises:
        ConfigError: Naming the terms.
    """
    lacking = [name for name, term in terms.items() if term.needs_labels and not has_labels(mixed)]
    if lacking:
        raise ConfigError(
            f'losses: {", ".join(lacking)} needs labels, which the training images do not have'
        )
    soft = [
        name
        for name, term in terms.items()
        if term.needs_hard_labels
        and has_labels(samples := unmixed if term.needs_unmixed else mixed)
        and not labels_are_hard(samples)
    ]
    if soft:
        raise ConfigError(
            f'losses: {", ".join(soft)} needs one hard label a sample, but the batch has soft or '
            'multiple labels: use a dataset with a single gt_label, leave the term out, or, if it '
            "is a BoundaryLoss, set base_class='teacher'"
        )


def ask_teacher(
    distiller: 'Distiller', inputs: Tensor, data_samples: list[DataSample], terms: Terms
) -> TeacherBatch:
    """The batch as it is known before the student answers; arguments as for :func:`learn`."""
    teacher = distiller.teacher
    labels = class_labels(data_samples) if has_labels(data_samples) else None
    paths = layers_of(terms, 'teacher')
    with teacher.recorder.recording(paths) as features:
        # stored logits come without features
        logits = teacher(inputs, None if paths else data_samples)
    return TeacherBatch(
        inputs=inputs,
        labels=labels,
        teacher=teacher,
        teacher_logits=logits,
        teacher_features=features,
        peek_student=partial(peek, distiller),
    )


def pass_alone(distiller: 'Distiller', terms: Terms, inputs: Tensor) -> Outputs:
    """Pass further inputs through the student, a BatchNorm batch of their own.

    Args:
        distiller: The student.
        terms: Name the features that come back.
        inputs: (M, C, H, W) in the student's normalisation.

    Raises:
        ConfigError: If several processes run BatchNorm together, since some may not come here.
    """
    if get_world_size() > 1 and has_sync_batch_norm(distiller):
        raise ConfigError(
            'SyncBN waits for all processes, of which some may have no boundary sample: set '
            "candidates='teacher_correct', whose samples join the clean batch, or sync_bn=None"
        )
    with distiller.recorder.recording(layers_of(terms, 'student')) as features:
        logits = distiller.head(distiller.extract_feat(inputs))
    return Outputs(logits, features)


def peek(distiller: 'Distiller', inputs: Tensor) -> Tensor:
    """(M, K) logits that further inputs would get in eval mode, without gradient.

    Args:
        distiller: The student.
        inputs: (M, C, H, W) in the student's normalisation.
    """
    with unchanged_randomness(), torch.no_grad(), evaluation_mode(distiller):
        logits = distiller.head(distiller.extract_feat(inputs))
    # torch 2.6 would hand the weights that it has cast here, without gradient, to what follows
    torch.clear_autocast_cache()
    return logits


def shares(distiller: 'Distiller', losses: Losses, seen: dict[str, list[Tensor]]) -> Losses:
    """The losses that get a share of the gradient, and what is to be logged of shares.

    Args:
        distiller: Says which terms get a share, and whether shares are logged.
        losses: Scalars by name.
        seen: The (N, K) logits of the student that each loss looks at.
    """
    given = {name: share for name, share in distiller.terms.shares().items() if name in seen}
    if not torch.is_grad_enabled() or not (given or distiller.logs_shares):
        return {}
    return share_gradient(losses, seen, given, distiller.logs_shares)


def _classify(
    distiller: 'Distiller', features: Any, recorded: dict[str, Tensor], terms: Terms
) -> Outputs:
    """What the head says of inputs that have passed together with the clean batch."""
    paths = [path for path in layers_of(terms, 'student') if in_head(path)]
    with distiller.recorder.recording(paths) as of_head:
        logits = distiller.head(features)
    return Outputs(logits, recorded | of_head)


def _answer(
    ask_student: Callable[[Tensor], Outputs], seen: list[Tensor], inputs: Tensor
) -> Outputs:
    """Answer a term that asks, and remember the logits."""
    outputs = ask_student(inputs)
    seen.append(outputs.logits)
    return outputs
