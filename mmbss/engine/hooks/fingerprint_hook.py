"""A resume with another teacher, other data or another config is noticed."""

from math import prod
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmbss.engine.errors import ConfigError, first_of
from mmbss.engine.fingerprint import compare, data_digest, settings_of
from mmbss.engine.models import unwrap
from mmbss.engine.own_code import code_digests, own_modules
from mmbss.engine.schedules import extend, spans
from mmbss.registry import HOOKS

LENGTH = 'iterations of an epoch'


@HOOKS.register_module()
class FingerprintHook(Hook):
    """Stores in each checkpoint what the result depends on, and compares it at a resume.

    That is the config, the weights of the teacher, the training data, the number of processes and
    of the iterations of an epoch, and the modules of the user's own; all as text in
    ``meta['fingerprint']``. What a resume would not use, because the state in the checkpoint takes
    its place, such as another learning rate, is said in the log, and so is what changes the course
    of a run alone, or may change it, such as other code. What makes the result another one is
    refused.

    Args:
        accept_changes: Go on with them all the same. The epochs go on where they were; the
            iterations are counted anew where an epoch has another number of them.

    Raises:
        ConfigError: At a resume, with what differs.
    """

    priority = 'VERY_HIGH'

    def __init__(self, accept_changes: bool = False) -> None:
        self.accept_changes = accept_changes
        self.length: int | None = None
        self.own: dict[str, str] | None = None
        # settings that the config has, and that are not used
        self.unused: dict[str, str | None] = {}
        self.ends: list[tuple[Any, int]] = []

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store what the result depends on."""
        used = {**self._of(runner), **self.unused}
        checkpoint['meta']['fingerprint'] = {
            path: text for path, text in used.items() if text is not None
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare it, where the run goes on from this checkpoint."""
        meta = checkpoint.get('meta')
        if not runner._resume or not isinstance(meta, dict):  # which mmengine cannot resume
            return
        lacking = [
            key
            for key, value in dict(
                optimizer=runner.optim_wrapper, param_schedulers=runner.param_schedulers
            ).items()
            if value not in (None, [], {}) and key not in checkpoint
        ]
        before = meta.get('fingerprint')
        if not isinstance(before, dict):
            runner.logger.warning(
                'the checkpoint does not say of which config, teacher and data it is: whether '
                'they are the same cannot be known'
            )
            before = self._of(runner)
        before = {str(key): str(value) for key, value in before.items()}
        changes = compare(before, self._of(runner))
        changes.refused.update(self._moved(runner, checkpoint, before, changes.overridden))
        refused = [*changes.refused.values()]
        refused += [f'there is no {key} in the checkpoint' for key in lacking]
        if refused and not self.accept_changes:
            raise ConfigError(
                'the run that is resumed would not be the same: '
                f'{first_of(refused, 6, "; ")}. Undo that, start anew with load_from and without '
                '--resume, '
                'or accept it with --cfg-options default_hooks.fingerprint.accept_changes=True'
            )
        self.unused = {path: before.get(path) for path in changes.overridden}
        if changes.overridden:
            runner.logger.warning(
                f'not used, since the state in the checkpoint takes its place: '
                f'{first_of(changes.overridden.values(), 6, "; ")}; to change it, start anew with '
                'load_from and without --resume'
            )
        if differing := [*refused, *changes.said.values()]:
            runner.logger.warning(
                f'differs from the run that is resumed: {first_of(differing, 6, "; ")}'
            )
        if before.get(LENGTH, '').isdecimal():
            self.length = int(before[LENGTH])

    def _moved(
        self,
        runner: Runner,
        checkpoint: dict[str, Any],
        before: dict[str, str],
        overridden: dict[str, str],
    ) -> dict[str, str]:
        """What another length of the training changes; remembers schedules' ends that move with it.

        Where an end is set in the config, the state in the checkpoint takes its place.
        """
        schedulers, stored = (
            each if isinstance(each, list) else []
            for each in (runner.param_schedulers, checkpoint.get('param_schedulers'))
        )
        length, moved = before.get(LENGTH, ''), {}
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        for name in ('train_cfg.max_epochs', 'train_cfg.max_iters'):
            steps = [each for each in (before.get(name, ''), length) if each.isdecimal()]
            if not steps or before.get(name) == self._of(runner).get(name):
                continue
            first, iterations = int(steps[0]), prod(map(int, steps))
            totals = {first, iterations}
            self.ends = [
                (scheduler, scheduler.end)
                for scheduler, state in zip(schedulers, stored, strict=False)
                if state.get('end') in totals
            ]
            end = first if name == 'train_cfg.max_iters' else iterations
            if checkpoint['meta'].get('iter') == end and end % counts:
                moved[name] = (
                    f'{name}: its end was an update of its own, since {end} iterations are no '
                    f'multiple of optim_wrapper.accumulative_counts={counts}'
                )
        moved |= spans(schedulers, stored)
        return {path: line for path, line in moved.items() if path not in overridden}

    def before_train(self, runner: Runner) -> None:
        """Move what ends with the training; count the iterations anew where epochs have others."""
        for scheduler, end in self.ends:
            extend(scheduler, end)
        loop = runner.train_loop
        if self.length in (None, len(loop.dataloader)) or not isinstance(loop, EpochBasedTrainLoop):
            return
        schedulers = runner.param_schedulers or []
        by_iter = [each for each in schedulers if not getattr(each, 'by_epoch', True)]
        if by_iter or runner.iter != runner.epoch * self.length:
            raise ConfigError(
                f'an epoch has {len(loop.dataloader)} iterations, and had {self.length}: a run '
                'goes on with another number only from the end of an epoch, and with schedules '
                'of learning rates by epoch (by_epoch=True, without convert_to_iter_based)'
            )
        info = runner.message_hub.runtime_info
        validated = info.get('last_validation') == runner.iter
        loop._iter = runner.epoch * len(loop.dataloader)
        # accumulate on from there
        runner.optim_wrapper.initialize_count_status(runner.model, loop._iter, loop.max_iters)
        runner.message_hub.update_info('iter', loop._iter)
        if validated:
            runner.message_hub.update_info('last_validation', loop._iter)

    def _of(self, runner: Runner) -> dict[str, str]:
        if self.own is None:
            loader = runner.train_dataloader
            self.own = settings_of(runner.cfg) | {
                'processes': str(get_world_size()),
                'training data': data_digest(loader.dataset),
                LENGTH: str(len(loader)),
            }
            teacher = getattr(unwrap(runner.model), 'teacher', None)
            facts = getattr(teacher, 'facts', {})  # models of somebody's own may have any teacher
            self.own |= {f'teacher.{name}': fact for name, fact in facts.items()}
            code = code_digests(own_modules(runner.cfg))
            self.own |= {f'code.{name}': digest for name, digest in code.items()}
        return self.own
