"""Schedules of loss weights over the training, and the losses' part of a checkpoint."""

from dataclasses import dataclass
from typing import Any

from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmbss.distillers import Distiller
from mmbss.distillers.of_runner import distiller_of
from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.registry import HOOKS


@dataclass(frozen=True)
class LinearSchedule:
    """A loss weight that moves linearly from ``start`` to ``end`` and then stays there.

    Args:
        start: Weight at the beginning of training, at least 0.
        end: Weight at the end of the schedule, at least 0.
        until: Share of the training, in (0, 1], at which ``end`` is reached.

    Raises:
        ConfigError: If a value is out of its range.

    Examples:
        >>> beta = LinearSchedule(start=2.0, end=0.0, until=0.75)
        >>> [beta.at(epoch / 80) for epoch in (0, 30, 60, 79)]
        [2.0, 1.0, 0.0, 0.0]
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        if not (self.start >= 0 and self.end >= 0):
            raise ConfigError(f'loss weights must not be negative, got {self!r}')
        if not 0 < self.until <= 1:
            raise ConfigError(f'until is a share of the training in (0, 1], got {self!r}')

    def __str__(self) -> str:
        end = f' at {100 * self.until:g} % of the training' if self.until < 1 else ''
        return f'{self.start:g} to {self.end:g}{end}'

    def at(self, progress: float) -> float:
        """Weight after a share ``progress`` of the training, in [0, 1]; exact at both ends."""
        share = progress / self.until
        return self.end if share >= 1 else self.start + (self.end - self.start) * share


@HOOKS.register_module()
class BSSHook(Hook):
    """Sets the loss weights of a distiller while it trains, and keeps its losses for a resume.

    Loss weights are logged as ``weight_<name>``. They depend on the current epoch or iteration
    alone, so they are right after a resume. What a loss has learnt, such as a regressor between
    features, is no part of the student: it is stored in the checkpoint beside the student's
    ``state_dict``, as ``distillation_losses``, and read only by a resume.

    The published recipe lets the weight of the clean distillation fall from 4 to 1, and that of
    the boundary loss from 2 to 0 at 75 % of the epochs::

        dict(type='mmbss.BSSHook', schedules=dict(
            loss_kd=dict(start=4.0, end=1.0),
            loss_bss=dict(start=2.0, end=0.0, until=0.75)))

    Args:
        schedules: For each loss of the distiller to schedule, the arguments of a
            :class:`LinearSchedule`. ``loss_cls`` is the student's own classification loss.
            Default None: the weights stay as they are.
        by_epoch: Change the weights before each epoch, as published, or before each iteration.
            Epoch e of E, counted from 0, has the weight at progress e / E, so a schedule that
            runs until the end of the training is one epoch short of its ``end`` in the last.

    Raises:
        ConfigError: If a schedule has unknown keys or values out of range, and before training
            if the model has no such loss; at a resume if the checkpoint has other losses.
    """

    def __init__(
        self, schedules: dict[str, dict[str, Any]] | None = None, by_epoch: bool = True
    ) -> None:
        self.by_epoch = by_epoch
        self.schedules: dict[str, LinearSchedule] = {}
        for name, schedule in (schedules or {}).items():
            where = f'BSSHook: the schedule of {name}'
            check_keys(schedule, LinearSchedule, where)
            try:
                self.schedules[name] = LinearSchedule(**schedule)
            except ConfigError as error:
                raise ConfigError(f'{where}: {error}') from error

    def before_train(self, runner: Runner) -> None:
        """Check that the model has every scheduled loss; share the weights of terms."""
        model = distiller_of(runner, 'BSSHook')
        known = model.loss_modules
        unknown = sorted(set(self.schedules) - set(known))
        if unknown:
            raise ConfigError(
                f'BSSHook: no loss is called {unknown}; the model has {sorted(known)}'
            )
        if shared := sorted(set(self.schedules) & set(model.terms.shares())):
            raise ConfigError(
                f'BSSHook: {shared[0]} has a share of the gradient, which sets its weight in every '
                'step, so a schedule would not be used: remove one of the two'
            )
        by_epoch = self.by_epoch and bool(self.schedules)
        if by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ConfigError('BSSHook: training by iteration has no epochs, set by_epoch=False')
        model.stores_term_weights = True
        # mmengine draws weights anew in each process, and shares those of the student alone
        for value in (*model.terms.parameters(), *model.terms.buffers()):
            broadcast(value.data)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the weights, and log them."""
        # also by epoch: another hook may bring a loss in the midst of one
        done, of_all = (
            (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        )
        losses = unwrap(runner.model).loss_modules
        for name, schedule in self.schedules.items():
            losses[name].loss_weight = schedule.at(done / of_all)
            # "loss" in a logged name would be taken for a loss
            tag = f'train/weight_{name.removeprefix("loss_")}'
            runner.message_hub.update_scalar(tag, losses[name].loss_weight)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store what the losses have learnt."""
        model = unwrap(runner.model)
        if isinstance(model, Distiller) and (weights := model.terms.weights()):
            checkpoint['distillation_losses'] = weights

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """At a resume let the losses go on with what they have learnt."""
        model = unwrap(runner.model)
        if isinstance(model, Distiller) and runner._resume:
            model.terms.load_weights(checkpoint.get('distillation_losses', {}))
