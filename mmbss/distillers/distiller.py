"""A student that listens to a teacher while it trains."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration.accelerate import compile_in_place
from mmbss.acceleration.winograd import use_winograd
from mmbss.distillers.classifiers import check_single_label_logits, num_classes
from mmbss.distillers.features import FeatureRecorder, recorded_outputs
from mmbss.distillers.loss_dict import LossDict
from mmbss.distillers.teacher import Teacher
from mmbss.engine.config_checks import accepted_keys, build_checked, check_keys, check_known
from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss, FeatureLoss, WeightedLoss
from mmbss.registry import MODELS


@MODELS.register_module()
class Distiller(ImageClassifier):
    """An image classifier, the student, that also learns from a teacher's logits and features.

    The distiller *is* the student: backbone, neck and head are its own, and the teacher stands
    outside the module tree. So every checkpoint, also a mid-run or an EMA one, is a plain
    student checkpoint, and the optimizer, DDP and EMA see the student alone.

    Args:
        teacher: Arguments of :class:`~mmbss.distillers.teacher.Teacher`: ``config``,
            ``checkpoint`` and, rarely, ``reverse_channels``.
        losses: Distillation losses by name; each name starts with ``loss_`` and appears in the
            log. A :class:`~mmbss.losses.DistillationLoss` compares the logits of both, a
            :class:`~mmbss.losses.FeatureLoss` the features that it names.
        channels_last: Run student and teacher in the NHWC layout, which many convolutional
            networks are faster in; the results are the same up to rounding.
        winograd: On a CPU, compute the student's 3x3 convolutions in tiles of ``'2x2'``,
            ``'4x2'`` or ``'4x4'`` outputs, see :func:`~mmbss.ops.use_winograd`; the
            teacher's by ``teacher.winograd``.
        compile: Compile the student's backbone and the teacher's with ``torch.compile``. The
            first steps of a run take minutes, the others less time; the results are the same up
            to rounding.
        **student: Arguments of mmpretrain's ``ImageClassifier``.

    Raises:
        FileNotFoundError: If the teacher's config or checkpoint does not exist.
        ValueError: If teacher and student do not fit, a loss has a wrong name, or it names a
            module that does not exist.
    """

    def __init__(
        self,
        teacher: dict[str, Any],
        losses: dict[str, dict[str, Any]] | None = None,
        channels_last: bool = False,
        winograd: str | None = None,
        compile: bool = False,
        **student: Any,
    ) -> None:
        check_known(student, self._model_keys(), 'model')
        check_keys(student, ImageClassifier, 'model')
        super().__init__(**student)
        check_single_label_logits(self, 'student')
        self.channels_last = channels_last
        if winograd is not None:
            use_winograd(self, winograd)
        # not through nn.Module.__setattr__: the teacher is no part of the student
        self.teacher: Teacher
        context = dict(student_preprocessor=self.data_preprocessor, channels_last=channels_last)
        check_known(teacher, accepted_keys(Teacher).keys() - context.keys(), 'teacher')
        if compile:
            compile_in_place(self.backbone)
            teacher = {**teacher, 'compile': True}
        check_keys({**teacher, **context}, Teacher, 'teacher')
        self.__dict__['teacher'] = Teacher(**teacher, **context)
        self._check_same_classes(num_classes(self), num_classes(self.teacher.network))
        self.distillation_losses = LossDict()
        # whoever stores the weights of the losses for a resume says so, as BSSHook does
        self.stores_loss_weights = False
        for name, loss in (losses or {}).items():
            if not name.startswith('loss_') or name in ('loss_cls', 'loss_bss'):
                raise ConfigError(
                    f'losses: {name!r} must start with "loss_" and be neither "loss_cls" nor '
                    '"loss_bss"'
                )
            self.distillation_losses[name] = build_loss(loss, name, DistillationLoss, FeatureLoss)
        self.recorder = FeatureRecorder(self, 'student')
        self.recorder.watch(feature_paths(self.distillation_losses.values(), 'student'))
        self.teacher.watch(feature_paths(self.distillation_losses.values(), 'teacher'))

    @classmethod
    def _model_keys(cls) -> set[str]:
        """Keys of the model config, those of the distiller and those of the student."""
        kinds = cls.__mro__[: cls.__mro__.index(ImageClassifier) + 1]
        return {key for kind in kinds for key in accepted_keys(kind)}

    @property
    def loss_modules(self) -> dict[str, nn.Module]:
        """Every loss by its name in the log; the ``loss_weight`` of each may be changed."""
        modules = dict(self.distillation_losses.items())
        classification = getattr(self.head, 'loss_module', None)
        if classification is not None and hasattr(classification, 'loss_weight'):
            modules['loss_cls'] = classification
        return modules

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """Features of the student; see mmpretrain's ``ImageClassifier``."""
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return super().extract_feat(inputs, stage)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            inputs: (N, C, H, W) images in the student's normalisation.
            data_samples: N samples with their ``gt_label``.

        Returns:
            Scalars by name; mmengine sums those with "loss" in their name and logs all.

        Raises:
            ValueError: If an image holds NaN or infinity, or the logits do not fit.
        """
        check_finite(inputs)
        active = self.active_losses().values()
        with (
            recorded_outputs(self.head) as outputs,
            self.recorder.recording(feature_paths(active, 'student')) as student_features,
        ):
            try:
                classification = super().loss(inputs, data_samples)
            except IndexError as error:
                if not outputs or class_labels(data_samples).max() < outputs[-1].shape[1]:
                    raise
                raise ConfigError(
                    f'a label lies beyond the {num_classes(self)} classes of the student '
                    f'({error}): set head.num_classes of student and teacher to your classes'
                ) from error
        if not outputs or not isinstance(outputs[-1], Tensor) or outputs[-1].ndim != 2:
            raise ConfigError(f"the student's {type(self.head).__name__} puts out no (N, K) logits")
        # "loss" is the name under which mmengine logs the sum
        losses = {'loss_cls' if k == 'loss' else k: v for k, v in classification.items()}
        losses |= self.distillation_losses.idle_terms()
        if self.needs_teacher:
            paths = feature_paths(active, 'teacher')
            with self.teacher.recorder.recording(paths) as teacher_features:
                # stored logits come without features
                teacher_logits = self.ask_teacher(inputs, None if paths else data_samples)
            student_logits = outputs[-1]
            self._check_same_classes(student_logits.shape[1], teacher_logits.shape[1])
            losses |= self.distil_features(student_features, teacher_features, data_samples)
            losses |= self.distil(inputs, student_logits, teacher_logits, data_samples)
        return losses

    def ask_teacher(self, inputs: Tensor, data_samples: list[DataSample] | None) -> Tensor:
        """(N, K) logits of the teacher on the clean batch; see :class:`Teacher`."""
        return self.teacher(inputs, data_samples)

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss that looks at the teacher has a weight."""
        return bool(self.active_losses())

    def active_losses(self) -> dict[str, WeightedLoss]:
        """The distillation losses on the clean batch that have a weight, by name."""
        losses = cast('dict[str, WeightedLoss]', dict(self.distillation_losses.items()))
        return {name: loss for name, loss in losses.items() if loss.loss_weight > 0}

    def distil(
        self,
        inputs: Tensor,
        student_logits: Tensor,
        teacher_logits: Tensor,
        data_samples: list[DataSample],
    ) -> dict[str, Tensor]:
        """Losses between the logits on the clean batch; those of weight 0 are left out."""
        labels = class_labels(data_samples)
        return {
            name: loss(student_logits, teacher_logits, labels)
            for name, loss in self.active_losses().items()
            if isinstance(loss, DistillationLoss)
        }

    def distil_features(
        self,
        student_features: dict[str, Tensor],
        teacher_features: dict[str, Tensor],
        data_samples: list[DataSample],
    ) -> dict[str, Tensor]:
        """Losses between features, given by path, on the clean batch; not those of weight 0."""
        labels = class_labels(data_samples)
        return {
            name: loss(
                [student_features[path] for path in loss.layers['student']],
                [teacher_features[path] for path in loss.layers['teacher']],
                labels,
            )
            for name, loss in self.active_losses().items()
            if isinstance(loss, FeatureLoss)
        }

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses of a training step; see mmengine's ``BaseModel``.

        Raises:
            ValueError: If weights of the losses would be lost at a resume.
        """
        names = [] if self.stores_loss_weights else self.distillation_losses.with_weights()
        if names:
            raise ConfigError(
                f'nobody stores the weights of {", ".join(names)} for a resume: add '
                "dict(type='mmbss.BSSHook') to custom_hooks"
            )
        return super().parse_losses(losses)

    def _apply(self, fn: Any, recurse: bool = True) -> 'Distiller':
        """Let the teacher follow ``.to()``, ``.cuda()`` and their like."""
        super()._apply(fn, recurse)
        self.teacher._apply(fn, recurse)
        return self

    def _check_same_classes(self, student: int | None, teacher: int | None) -> None:
        if student is not None and teacher is not None and student != teacher:
            raise ConfigError(
                f'the student has {student} classes, the teacher {teacher}: give both the same '
                'classes, for instance by fine-tuning the teacher on your data first'
            )


def build_loss(config: dict[str, Any], name: str, *kinds: type[WeightedLoss]) -> WeightedLoss:
    """Build a loss from its config; ``name`` is for messages.

    Raises:
        ValueError: If it is of none of the kinds, by default a loss on logits, or a key is
            unknown.
    """
    kinds = kinds or (DistillationLoss,)
    loss = build_checked(MODELS, config, name)
    if not isinstance(loss, kinds):
        bases = ' or '.join(f'mmbss.losses.{kind.__name__}' for kind in kinds)
        raise ConfigError(
            f'{name}: {type(loss).__name__} is no distillation loss that fits here: derive it '
            f'from {bases}'
        )
    return loss


def feature_paths(losses: Iterable[nn.Module], role: str) -> list[str]:
    """Paths that the losses on features among these name in the ``'student'`` or ``'teacher'``."""
    return [path for loss in losses if isinstance(loss, FeatureLoss) for path in loss.layers[role]]


def class_labels(data_samples: list[DataSample]) -> Tensor:
    """(N,) int64 class of each sample; of a mixture (mixup, soft labels) the largest share."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples]).argmax(dim=1)
    return torch.cat([sample.gt_label for sample in data_samples])


def check_finite(inputs: Tensor) -> None:
    """Refuse (N, ...) images that hold NaN or infinity.

    Raises:
        ValueError: Naming their rows in the batch.
    """
    finite = inputs.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        rows = (~finite).nonzero().flatten().tolist()
        raise ConfigError(
            f'{len(rows)} of {len(inputs)} images hold NaN or infinity (rows {rows[:5]} of the '
            "batch): check the data and the data preprocessor's std"
        )
