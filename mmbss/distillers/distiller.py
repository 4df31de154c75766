"""A student that listens to a teacher while it trains."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration import accelerate
from mmbss.attacks import Attack
from mmbss.boundary.attack_checks import rehearsed
from mmbss.boundary.search_checks import check_gradient
from mmbss.distillers.build_terms import build_terms
from mmbss.distillers.data_samples import check_finite, refuse_partly_labelled
from mmbss.distillers.iteration import learn
from mmbss.distillers.mixing import BatchAugments, Later, take_over_mixing
from mmbss.distillers.term_checks import check_learnt
from mmbss.distillers.term_dict import layers_of
from mmbss.distillers.token_heads import connect_tokens
from mmbss.engine.build import accepted_keys, check_keys, check_known
from mmbss.engine.errors import ConfigError, naming
from mmbss.registry import MODELS
from mmbss.teachers.classifiers import (
    check_same_classes,
    check_single_label_logits,
    num_classes,
)
from mmbss.teachers.features import FeatureRecorder
from mmbss.teachers.teacher import Teacher

#: Methods by which a student answers once it is trained.
IN_USE = ('extract_feat', 'forward', 'predict')


@MODELS.register_module()
class Distiller(ImageClassifier):
    """An image classifier, the student, that also learns from a teacher.

    The distiller *is* the student: backbone, neck and head are its own, and the teacher stands
    outside the module tree. So every checkpoint, also a mid-run or an EMA one, is a plain
    student checkpoint, and the optimizer, DDP and EMA see the student alone.

    Args:
        teacher: Arguments of :class:`~mmbss.teachers.Teacher`.
        losses: What the student learns beside its own classification loss, a sum of terms: the
            config of a :class:`~mmbss.losses.Term` by a name that starts with ``loss_`` and
            appears in the log.
        acceleration: Arguments of :func:`~mmbss.acceleration.accelerate` for the student.
        **student: Arguments of mmpretrain's ``ImageClassifier``.

    Raises:
        MissingFileError: If the teacher's config or checkpoint does not exist.
        ConfigError: If teacher and student do not fit, a term has a wrong name, or it names a
            module that does not exist; or if a class that derives from this one answers in another
            way than the plain student, see ``IN_USE``.
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
        kind = type(self)
        changed = [each for each in IN_USE if getattr(kind, each) is not getattr(Distiller, each)]
        if changed:
            raise ConfigError(
                f'{kind.__name__} overrides {", ".join(changed)}, but its student is tested '
                'and handed over as a plain ImageClassifier: put it into the backbone, neck or head'
            )
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
        self.leads_teacher = id(self)  # a copy shares the teacher, and must not move it
        check_same_classes(num_classes(self), self.teacher.num_classes)

        take_over_mixing(self.data_preprocessor)
        # a hook may bring others while the training runs
        self.data_preprocessor.register_forward_pre_hook(take_over_mixing)
        # it would stumble over an image without a label among others
        self.data_preprocessor.register_forward_pre_hook(refuse_partly_labelled, with_kwargs=True)

        self.terms = build_terms(losses or {}, mixes=self.batch_augments is not None)
        for name, term in self.terms.all().items():
            if isinstance(attack := getattr(term, 'attack', None), Attack):
                check_gradient(attack, self.teacher.differentiable, name)
        self.trains_token = connect_tokens(self.terms.all(), self.head)
        self.head.training &= not self.trains_token  # see train()
        # whoever stores the weights of the terms for a resume says so, as BSSHook does
        self.stores_term_weights = False
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
        losses = learn(self, inputs, data_samples, self.terms.active())
        return losses | self.terms.idle(inputs, ('share',) if self.logs_shares else ())

    def try_terms(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses of a batch, as :meth:`loss` gives them, of every term, also those of weight 0.

        Terms rehearse: where they learn from some samples only, from any here. What attacks of
        somebody's own return is looked at.

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
            for name, term in self.terms.all().items():
                rehearsal.enter_context(term.rehearsing())
                if isinstance(attack := getattr(term, 'attack', None), Attack):
                    rehearsal.enter_context(rehearsed(attack, f'losses.{name}'))
            terms = self.terms.all()
            own = {id(each) for each in self.terms.parameters()}
            student = [
                each for each in self.parameters() if each.requires_grad and id(each) not in own
            ]
            return check_learnt(partial(learn, self, inputs, data_samples, terms), terms, student)

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
        if self.leads_teacher == id(self):
            self.teacher._apply(fn, recurse)
        return self
