"""A student that listens to a teacher while it trains."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration import accelerate
from mmbss.attacks import Attack
from mmbss.boundary.search_checks import check_gradient
from mmbss.distillers.build_terms import build_terms
from mmbss.distillers.classification import classify
from mmbss.distillers.classifiers import check_single_label_logits, num_classes
from mmbss.distillers.data_samples import (
    check_finite,
    class_labels,
    has_labels,
    labels_are_hard,
    refuse_partly_labelled,
)
from mmbss.distillers.features import FeatureRecorder
from mmbss.distillers.gradient_shares import share_gradient
from mmbss.distillers.mixing import BatchAugments, Later, mix, take_over_mixing
from mmbss.distillers.split_batch import (
    has_batch_norm,
    has_sync_batch_norm,
    in_head,
    split_batch,
    split_features,
)
from mmbss.distillers.teacher import Teacher
from mmbss.distillers.term_checks import check_learnt, checked
from mmbss.distillers.term_dict import layers_of, logged
from mmbss.distillers.token_heads import connect_tokens
from mmbss.engine.build import accepted_keys, check_keys, check_known
from mmbss.engine.errors import ConfigError, naming
from mmbss.engine.models import evaluation_mode
from mmbss.engine.randomness import unchanged_randomness
from mmbss.losses import Batch, Outputs, TeacherBatch, Term
from mmbss.registry import MODELS


@MODELS.register_module()
class Distiller(ImageClassifier):
    """An image classifier, the student, that also learns from a teacher.

    The distiller *is* the student: backbone, neck and head are its own, and the teacher stands
    outside the module tree. So every checkpoint, also a mid-run or an EMA one, is a plain
    student checkpoint, and the optimizer, DDP and EMA see the student alone.

    Args:
        teacher: Arguments of :class:`~mmbss.distillers.Teacher`.
        losses: What the student learns beside its own classification loss, a sum of terms: the
            config of a :class:`~mmbss.losses.Term` by a name that starts with ``loss_`` and
            appears in the log.
        acceleration: Arguments of :func:`~mmbss.acceleration.accelerate` for the student.
        **student: Arguments of mmpretrain's ``ImageClassifier``.

    Raises:
        MissingFileError: If the teacher's config or checkpoint does not exist.
        ConfigError: If teacher and student do not fit, a term has a wrong name, or it names a
            module that does not exist.
    """

    #: Whether the head's distillation token learns from the teacher, its class token from labels.
    trains_token = False

    def __init__(
        self,
        teacher: dict[str, Any],
        losses: dict[str, dict[str, Any]] | None = None,
        acceleration: dict[str, Any] | None = None,
        **student: Any,
    ) -> None:
        check_known(student, self._model_keys(), 'model')
        check_keys(student, ImageClassifier, 'model')
        super().__init__(**student)
        check_single_label_logits(self, 'student')
        check_keys(acceleration or {}, accelerate, 'model.acceleration', supplied=('network',))
        accelerate(self, **(acceleration or {}))
        # not through nn.Module.__setattr__: the teacher is no part of the student
        self.teacher: Teacher
        context = dict(student_preprocessor=self.data_preprocessor)
        check_known(teacher, accepted_keys(Teacher).keys() - context.keys(), 'teacher')
        check_keys({**teacher, **context}, Teacher, 'teacher')
        self.__dict__['teacher'] = Teacher(**teacher, **context)
        self._check_same_classes(num_classes(self), self.teacher.num_classes)
        take_over_mixing(self.data_preprocessor)
        self.terms = build_terms(losses or {}, mixes=self.batch_augments is not None)
        for name, term in self.terms.all().items():
            if isinstance(attack := getattr(term, 'attack', None), Attack):
                check_gradient(attack, self.teacher.differentiable, name)
        self.trains_token = connect_tokens(self.terms.all(), self.head)
        self.head.training &= not self.trains_token  # see train()
        # whoever stores the weights of the terms for a resume says so, as BSSHook does
        self.stores_term_weights = False
        # it would stumble over an image without a label among others
        self.data_preprocessor.register_forward_pre_hook(refuse_partly_labelled, with_kwargs=True)
        # a hook may bring others while the training runs
        self.data_preprocessor.register_forward_pre_hook(take_over_mixing)
        #: Whether the share of each loss in the gradient is logged, as GradientShareHook sets it.
        self.logs_shares = False
        self.recorder = FeatureRecorder(self, 'student')
        self.recorder.watch(layers_of(self.terms.all(), 'student'))
        self.teacher.watch(layers_of(self.terms.all(), 'teacher'))

    @classmethod
    def _model_keys(cls) -> set[str]:
        """Keys of the model config, those of the distiller and those of the student."""
        kinds = cls.__mro__[: cls.__mro__.index(ImageClassifier) + 1]
        return {key for kind in kinds for key in accepted_keys(kind)}

    @property
    def batch_augments(self) -> BatchAugments | None:
        """What mixes a batch, see :func:`~mmbss.distillers.mixing.take_over_mixing`."""
        augments = getattr(self.data_preprocessor, 'batch_augments', None)
        return augments.augments if isinstance(augments, Later) else None

    @property
    def loss_modules(self) -> dict[str, nn.Module]:
        """Every loss by its name in the log; the ``loss_weight`` of each may be changed."""
        modules: dict[str, nn.Module] = {**self.terms.all()}
        classification = getattr(self.head, 'loss_module', None)
        if classification is not None and hasattr(classification, 'loss_weight'):
            modules['loss_cls'] = classification
        return modules

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            inputs: (N, C, H, W) images in the student's normalisation.
            data_samples: N samples with their ``gt_label``, or all without.

        Returns:
            Scalars by name; mmengine sums those with "loss" in their name and logs all.

        Raises:
            ConfigError: If an image holds NaN or infinity, or the logits do not fit.
        """
        check_finite(inputs)
        losses = self.learn(inputs, data_samples, self.terms.active())
        return losses | self.terms.idle(inputs, ('share',) if self.logs_shares else ())

    def learn(
        self, inputs: Tensor, data_samples: list[DataSample], terms: dict[str, Term]
    ) -> dict[str, Tensor]:
        """The classification loss and the given terms; arguments as for :meth:`loss`.

        Mixup and the like mix the batch; the teacher answers; terms bring further inputs where the
        teacher alone chooses them; the student answers all of it in one pass; each term looks at
        the batch.
        """
        unmixed = inputs, data_samples
        if self.batch_augments is not None:
            inputs, data_samples = mix(self.batch_augments, inputs, data_samples)
        if not terms:
            features = self.extract_feat(inputs)
            losses, _, of_labels = classify(self, features, data_samples, self.trains_token)
            return losses | self._shared(losses, dict(loss_cls=[of_labels]))
        asked = self.ask_teacher(inputs, data_samples, terms)
        needs_unmixed = any(term.needs_unmixed for term in terms.values())
        if needs_unmixed and not torch.equal(inputs, unmixed[0]):
            asked = replace(asked, unmixed=self.ask_teacher(*unmixed, {}))
        brought = {name: term.bring(asked) for name, term in terms.items()}
        further = [each.inputs for each in brought.values() if each is not None]
        sizes = [len(inputs), *map(len, further)]
        with self.recorder.recording(layers_of(terms, 'student')) as recorded:
            joined = torch.cat([inputs, *further]) if further else inputs
            features, *others = split_batch(self.extract_feat(joined), sizes)
            losses, logits, of_labels = classify(self, features, data_samples, self.trains_token)
        self._check_same_classes(logits.shape[1], asked.teacher_logits.shape[1])
        parts = split_features(recorded, sizes)
        batch = Batch(
            **vars(asked),
            student_logits=logits,
            student_features=parts[0],
            ask_student=partial(self.pass_alone, terms=terms),
            least_asked=2 if has_batch_norm(self) else 1,
        )
        later = iter(zip(others, parts[1:], strict=True))
        # the logits that each loss looks at
        seen = dict(loss_cls=[of_labels])
        seen |= {name: [term.logits_of(batch)] for name, term in terms.items()}
        for name, term in terms.items():
            own = replace(batch, ask_student=partial(self._answer, terms, seen[name]))
            if brought[name] is not None:
                # the head, unlike the backbone, need not pass no sample at all
                rest, features_of_rest = next(later)
                has_samples = len(brought[name].inputs) > 0
                outputs = self.classify_rest(rest, features_of_rest, terms) if has_samples else None
                own = replace(own, brought=brought[name], brought_outputs=outputs)
                seen[name] += [outputs.logits] if outputs else []
            losses[name], statistics = checked(name, term, term.compute(own))
            losses |= logged(name, statistics)
        return losses | self._shared(losses, seen)

    def ask_teacher(
        self, inputs: Tensor, data_samples: list[DataSample], terms: dict[str, Term]
    ) -> TeacherBatch:
        """The batch as it is known before the student answers.

        Raises:
            ConfigError: If the images lack the labels that a term needs.
        """
        labels = class_labels(data_samples) if has_labels(data_samples) else None
        lacking = [name for name, term in terms.items() if labels is None and term.needs_labels]
        if lacking:
            raise ConfigError(
                f'losses: {", ".join(lacking)} needs labels, which the training images do not have'
            )
        paths = layers_of(terms, 'teacher')
        with self.teacher.recorder.recording(paths) as features:
            # stored logits come without features
            logits = self.teacher(inputs, None if paths else data_samples)
        return TeacherBatch(
            inputs=inputs,
            labels=labels,
            labels_are_hard=labels_are_hard(data_samples),
            teacher=self.teacher,
            teacher_logits=logits,
            teacher_features=features,
            peek_student=self.peek,
        )

    def classify_rest(
        self, features: Any, recorded: dict[str, Tensor], terms: dict[str, Term]
    ) -> Outputs:
        """What the head says of inputs that have passed together with the clean batch."""
        paths = [path for path in layers_of(terms, 'student') if in_head(path)]
        with self.recorder.recording(paths) as of_head:
            logits = self.head(features)
        return Outputs(logits, recorded | of_head)

    def _answer(self, terms: dict[str, Term], seen: list[Tensor], inputs: Tensor) -> Outputs:
        """Answer a term that asks, and remember the logits."""
        outputs = self.pass_alone(inputs, terms)
        seen.append(outputs.logits)
        return outputs

    def pass_alone(self, inputs: Tensor, terms: dict[str, Term]) -> Outputs:
        """Pass further inputs through the student, a BatchNorm batch of their own.

        Args:
            inputs: (M, C, H, W) in the student's normalisation.
            terms: Name the features that come back.

        Raises:
            ConfigError: If several processes run BatchNorm together, since some may not come here.
        """
        if get_world_size() > 1 and has_sync_batch_norm(self):
            raise ConfigError(
                'SyncBN waits for all processes, of which some may have no boundary sample: set '
                "candidates='teacher_correct', whose samples join the clean batch, or sync_bn=None"
            )
        with self.recorder.recording(layers_of(terms, 'student')) as features:
            logits = self.head(self.extract_feat(inputs))
        return Outputs(logits, features)

    def peek(self, inputs: Tensor) -> Tensor:
        """(M, K) logits that further inputs would get in eval mode, without gradient.

        Args:
            inputs: (M, C, H, W) in the student's normalisation.
        """
        with unchanged_randomness(), torch.no_grad(), evaluation_mode(self):
            logits = self.head(self.extract_feat(inputs))
        # torch 2.6 would hand the weights that it has cast here, without gradient, to what follows
        torch.clear_autocast_cache()
        return logits

    def try_terms(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses of a batch, as :meth:`loss` gives them, of every term, also those of weight 0.

        Terms rehearse: where they learn from some samples only, from any here.

        Raises:
            ConfigError: If something does not fit.
        """
        check_finite(inputs)
        with naming('model.teacher'):
            logits = self.teacher(inputs)
        if not logits.isfinite().all():
            raise ConfigError(
                'model.teacher says NaN or infinity to training images: correct '
                'model.teacher.checkpoint, or the mean and std of its data_preprocessor'
            )
        with ExitStack() as rehearsal:
            for term in self.terms.all().values():
                rehearsal.enter_context(term.rehearsing())
            terms = self.terms.all()
            return check_learnt(partial(self.learn, inputs, data_samples, terms), terms)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses of a training step; see mmengine's ``BaseModel``.

        Raises:
            ConfigError: If weights of the terms would be lost at a resume.
        """
        names = [] if self.stores_term_weights else self.terms.with_weights()
        if names:
            raise ConfigError(
                f'nobody stores the weights of {", ".join(names)} for a resume: add '
                "bss=dict(type='mmbss.BSSHook') to default_hooks"
            )
        return super().parse_losses(losses)

    def train(self, mode: bool = True) -> 'Distiller':
        """Change the mode of all but a head with two tokens, which goes on to give their mean."""
        super().train(mode)
        if self.trains_token:
            self.head.training = False  # its layers train; with True, mmpretrain's head may raise
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> 'Distiller':
        """Let the teacher follow ``.to()``, ``.cuda()`` and their like."""
        super()._apply(fn, recurse)
        self.teacher._apply(fn, recurse)
        return self

    def _shared(
        self, losses: dict[str, Tensor], seen: dict[str, list[Tensor]]
    ) -> dict[str, Tensor]:
        """The losses that get a share of the gradient, and what is to be logged of shares.

        Args:
            losses: Scalars by name.
            seen: The (N, K) logits of the student that each loss looks at.
        """
        shares = {name: share for name, share in self.terms.shares().items() if name in seen}
        if not torch.is_grad_enabled() or not (shares or self.logs_shares):
            return {}
        weightless = [name for name, loss in self.loss_modules.items() if loss.loss_weight == 0]
        return share_gradient(losses, seen, shares, weightless, self.logs_shares)

    def _check_same_classes(self, student: int | None, teacher: int | None) -> None:
        if student is not None and teacher is not None and student != teacher:
            raise ConfigError(
                f'the student has {student} classes, the teacher {teacher}: give both the same '
                'classes, for instance by fine-tuning the teacher on your data first'
            )
