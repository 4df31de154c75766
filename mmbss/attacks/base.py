"""What every attack takes and returns."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmbss.attacks.functional import (
    Bounds,
    ToLogits,
    check_bounds,
    ends,
    has_softmax,
    in_base_class,
    in_target_class,
    margin,
)
from mmbss.engine.errors import ConfigError

#: Names of what :meth:`AttackResult.statistics` returns.
STATISTICS = ('accepted', 'third_class', 'not_crossed', 'steps', 'gap')


@dataclass(frozen=True)
class AttackResult:
    """Samples an attack has found, with what the attacked model says of them.

    Attributes:
        samples: (N, ...) float32, in the units of the attacked model's input.
        logits: (N, K) float32, the model's output on ``samples``.
        base: (N,) int64, the class each sample started in.
        target: (N,) int64, the class it was moved toward, or the one an attack took instead.
        success: (N,) bool, whether the attack accepts the sample.
        steps: (N,) int64, how many gradients were evaluated, or estimated, for it.
    """

    samples: Tensor
    logits: Tensor
    base: Tensor
    target: Tensor
    success: Tensor
    steps: Tensor

    def statistics(self) -> dict[str, Tensor]:
        """Summarise the attack as scalars; all zero where it had no sample.

        Returns:
            ``accepted``: share of the samples that the attack accepts; ``third_class``: share
            that left the base class for one that is not accepted; ``not_crossed``: share still
            in the base class; ``steps``: mean gradient evaluations; ``gap``: mean of
            ``|p_b - p_k|``, 0 on the boundary and 1 deep in one of the two classes.
        """
        inside = in_base_class(self.logits, self.base)
        probabilities = self.logits.float().softmax(dim=1)
        values = dict(
            accepted=self.success,
            third_class=~self.success & ~inside,
            not_crossed=~self.success & inside,
            steps=self.steps,
            gap=margin(probabilities, self.base, self.target).abs(),
        )
        # the sum over max(N, 1) is the mean, and 0 instead of NaN for no sample
        count = max(len(self.samples), 1)
        return {name: value.float().sum() / count for name, value in values.items()}


@dataclass(frozen=True)
class Partners:
    """Other inputs toward which samples are moved, and what is known of the samples already.

    Attributes:
        inputs: (N, ...), the partner of each sample, of another class; a sample that is its own
            partner has none.
        base_logits: (N, K), the model's output on the samples, so that it need not be asked again.
        student: Maps inputs of the model to (N, K) logits of the student, for attacks that
            ``need_student``.
        logits: (N, K), the model's output on ``inputs``; None where its decisions alone are known.
    """

    inputs: Tensor
    base_logits: Tensor
    student: ToLogits | None = None
    logits: Tensor | None = None


class Attack(ABC):
    """Moves samples of a base class toward a target class.

    An attack needs no runner and no mmpretrain model: any callable from inputs to logits will
    do. It leaves the model's parameters, gradients, buffers and mode as they were. Subclasses
    implement :meth:`run`.

    Attributes:
        in_pixels: Whether lengths are given in pixels, so that the bounds are needed and have to
            be pixels 0 and 255.
        needs_partners: Whether samples are moved toward other inputs, so that :meth:`run` takes
            ``partners``; their classes then are the target classes.
        needs_student: Whether it asks the student, ``partners.student``, too.
        needs_gradient: Whether it asks the model for more than logits, so that it has to be one
            with a gradient.
    """

    in_pixels: bool = False
    needs_partners: bool = False
    needs_student: bool = False
    needs_gradient: bool = True

    def __call__(
        self,
        model: ToLogits,
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None = None,
        partners: Partners | None = None,
    ) -> AttackResult:
        """Attack a batch.

        Args:
            model: Maps (N, ...) inputs to (N, K) logits, each row independent of the others.
            samples: (N, ...) floating-point base samples in the units and of the type of the
                model's input; they are moved in float32.
            base: (N,) int64 base classes, normally the model's own decisions.
            target: (N,) int64 target classes, different from the base classes.
            bounds: Lowest and highest value of an input, broadcastable against one sample, in
                the units of ``samples``. None leaves the samples unbounded.
            partners: For attacks that need them, which find some in the batch otherwise.

        Raises:
            ConfigError: If shapes or bounds do not fit, the attack takes no partners, or the model
                is a module in training mode, where BatchNorm would mix the samples and change its
                statistics.
        """
        if base.shape != target.shape or base.shape != samples.shape[:1]:
            raise ConfigError(
                f'{len(samples)} samples need as many base and target classes, got shapes '
                f'{tuple(base.shape)} and {tuple(target.shape)}'
            )
        if partners is not None and not self.needs_partners:
            raise ConfigError(f'{type(self).__name__} moves toward no partners: leave them out')
        check_evaluating(model)
        if not samples.is_floating_point():
            raise ConfigError(f'samples are {samples.dtype}: give floating-point ones')
        if self.needs_gradient and torch.is_inference_mode_enabled():
            raise ConfigError(
                f'{type(self).__name__} needs gradients, which there are none of within '
                'torch.inference_mode(): call it outside, or take torch.no_grad() instead'
            )
        dtype = samples.dtype

        def ask(inputs: Tensor) -> Tensor:
            logits = model(inputs if dtype == torch.float32 else inputs.to(dtype))
            if inputs.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
                raise ConfigError(
                    'the logits of the teacher have no gradient, which the attack needs: leave '
                    'out no_grad() and detach() there, or take an attack that asks for logits '
                    'alone, such as mmbss.SegmentAttack'
                )
            return logits

        samples = samples.detach().to(torch.float32, copy=True)  # one may move them in place
        if bounds is not None:
            bounds = ends(bounds, samples, '')  # moved to a GPU once, not at each step
            check_bounds(*bounds, samples)
        further = {} if partners is None else dict(partners=partners)
        # a validation loop runs under no_grad, an attack needs gradients all the same
        with torch.enable_grad():
            return self.run(ask, samples, base, target, bounds, **further)

    @abstractmethod
    def run(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> AttackResult:
        """Find the samples; arguments as for :meth:`__call__`, checked, ``samples`` in float32."""


def check_evaluating(model: ToLogits) -> None:
    """Refuse a module in training mode.

    Raises:
        ConfigError: If it is one.
    """
    if isinstance(model, nn.Module) and model.training:
        raise ConfigError('the attacked model is in training mode: call model.eval() first')


def accept(
    samples: Tensor,
    logits: Tensor,
    base: Tensor,
    target: Tensor,
    steps: Tensor,
    *,
    attacked: Tensor,
    targeted: bool,
) -> AttackResult:
    """Accept each sample that has been moved into its target class.

    Args:
        samples: (N, ...) float32, what an attack has found.
        logits: (N, K) float32 on ``samples``.
        base: (N,) int64, the class each sample started in.
        target: (N,) int64, the class it was to reach.
        steps: (N,) int64, how many gradients were evaluated for it.
        attacked: (N,) bool; a sample that was not attacked is rejected.
        targeted: Whether the target class is the one to reach. Otherwise any class will do, and
            the one that was reached becomes the target.
    """
    if not targeted:
        left_base = ~in_base_class(logits, base) & attacked
        target = torch.where(left_base, logits.argmax(dim=1), target)
    success = attacked & in_target_class(logits, base, target) & has_softmax(logits)
    return AttackResult(samples, logits, base, target, success, steps)
