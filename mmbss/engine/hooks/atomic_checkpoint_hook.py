"""Checkpoints of which a kill at any moment loses none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.checkpoints import AtomicLocalBackend, check_template, name_pattern
from mmbss.engine.finite import has_nan, non_finite
from mmbss.engine.hooks.finite_loss_hook import NonFiniteError, last_checkpoint
from mmbss.engine.hooks.step_seed_hook import epoch_begin
from mmbss.engine.models import unwrap
from mmbss.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against kills and full disks.

    A checkpoint appears under its name only when it is whole, an outdated one goes only when its
    successor is there, and each is stored again after its validation, so that a run that was
    killed in between knows at the resume that a validation is due. None is written that holds NaN
    or infinity. Only files with the names that this hook gives, in the folder of this run, are
    removed, whatever a checkpoint that is resumed says. Arguments as for mmengine's hook; with a
    ``backend_args`` of your own, that storage must replace files atomically itself.

    Raises:
        ConfigError: Before a training, if its weights are not finite.
        NonFiniteError: While training, if what is to be written is not finite.
    """

    def __init__(
        self,
        *args: Any,
        out_dir: str | None = None,
        backend_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # another storage, such as s3://, is found by mmengine
        if backend_args is None and '://' not in (out_dir or ''):
            backend_args = dict(backend=AtomicLocalBackend.__name__)
        super().__init__(*args, out_dir=out_dir, backend_args=backend_args, **kwargs)
        check_template(self.filename_tmpl)
        if self.filename_tmpl.format(1) == self.filename_tmpl.format(2):
            self.max_keep_ckpts = -1  # there is but one, which is always the last
        self.is_validating = self.is_due = False
        self.last_written: str | None = None
        # such as masks of attention, and what a model fills when it is used first
        self.infinite_buffers: set[str] = set()
        self.unfilled: set[str] = set()

    def before_run(self, runner: Runner) -> None:
        """Remember what was no number before any weights were loaded."""
        self.unfilled = set(non_finite(dict(unwrap(runner.model).named_buffers())))

    def before_train(self, runner: Runner) -> None:
        """Remove what a killed run would have, and make up for its last validation."""
        self._check_weights(runner)
        info = runner.message_hub.runtime_info
        self.last_written = info.get('last_ckpt')
        outdated = self._forget_others(info)
        super().before_train(runner)
        self._move_best_here(info)
        if self.last_written is not None and runner._resume and runner.iter < runner.max_iters:
            # which mmengine does not know, so that it would note a better one in no checkpoint
            self.last_ckpt = self._path_of(runner)
        if is_main_process():
            with self._removal_afterwards():
                for step in outdated:
                    self.file_backend.remove(self._path(step))
        if runner._resume and validation_is_due(runner):
            runner.logger.info('validating the checkpoint, which the killed run had not')
            self.last_ckpt = self._path_of(runner)
            runner.val_loop.run()
        if runner.iter >= runner.max_iters:
            key = 'max_iters' if isinstance(runner.train_loop, IterBasedTrainLoop) else 'max_epochs'
            runner.logger.info(
                f'all {runner.max_iters} iterations are done already: '
                f'raise train_cfg.{key} to go on'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Store the best checkpoint."""
        runner.message_hub.update_info('last_validation', runner.iter)
        self.is_validating = True
        with self._removal_afterwards():
            super().after_val_epoch(runner, metrics)
        self.is_validating = False

    def after_val(self, runner: Runner) -> None:
        """Store in the last checkpoint that it has been validated, and what hooks made of it."""
        is_last = self.last_ckpt is not None and self.last_ckpt == self._path_of(runner)
        if self.is_due or is_last:
            self.is_due = False
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, self._step_of(runner), meta)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, int]) -> None:
        if self.is_validating:  # hooks that come later, such as early stopping, are to count first
            self.is_due = True
            return
        info = runner.message_hub.runtime_info
        try:
            with self._removal_afterwards():
                super()._save_checkpoint_with_step(runner, step, meta)
        except BaseException:
            info['last_ckpt'] = self.last_written  # mmengine has set it already
            raise
        self.last_written = self.last_ckpt

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.save_best and metrics:
            if 'auto' in self.key_indicators:
                self._init_rule(self.rules, [next(iter(metrics))])
            self._forget_best_of_others(runner)
        super()._save_best_checkpoint(runner, metrics)

    def _forget_best_of_others(self, runner: Runner) -> None:
        """Begin anew where a run was resumed with another metric: its scores do not compare."""
        info = runner.message_hub.runtime_info
        now = dict(zip(self.key_indicators, self.rules, strict=True))
        before = info.get('best_of', now)
        if before != now:
            runner.logger.warning(
                f'save_best was {before} and is {now}: the best checkpoint of before is kept as it '
                'is, and the best is looked for anew'
            )
            for key in [key for key in info if key.startswith(('best_ckpt', 'best_score'))]:
                del info[key]
            self.best_ckpt_path = None
            self.best_ckpt_path_dict = dict.fromkeys(self.key_indicators)
        runner.message_hub.update_info('best_of', now)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse to write what is not finite."""
        # other hooks may store NaN where they have counted nothing
        states = [key for key in checkpoint if key == 'optimizer' or key.endswith('state_dict')]
        state = {key: checkpoint[key] for key in states}
        broken = [name for name in non_finite(state) if name not in self.infinite_buffers]
        if broken:
            raise NonFiniteError(
                f'no checkpoint is written after iteration {runner.iter}, since {broken[0]} is not '
                f'finite; {last_checkpoint(self.last_written)}. Lower the learning rate, or clip '
                'the gradients'
            )

    def _check_weights(self, runner: Runner) -> None:
        """Refuse to go on from weights that are not finite; note the buffers that never were."""
        model = unwrap(runner.model)
        buffers = dict(model.named_buffers())
        nan = {name for name, value in buffers.items() if has_nan(value)}
        broken = [*non_finite(dict(model.named_parameters())), *sorted(nan - self.unfilled)]
        if broken:
            raise ConfigError(
                f'the weights to begin with are not finite (NaN or infinity in {broken[0]}): take '
                'an earlier checkpoint'
            )
        self.infinite_buffers = {
            f'{part}{name}'
            for name in non_finite(buffers)
            for part in ('state_dict.', 'ema_state_dict.module.')
        }

    def _forget_others(self, info: dict[str, Any]) -> list[int]:
        """Keep what a checkpoint says of files only where it can speak of files of this hook.

        Args:
            info: What the checkpoint has stored; changed.

        Returns:
            Numbers of the checkpoints that are outdated.
        """
        for key in [key for key in info if key.startswith(('best_ckpt', 'best_score'))]:
            if key.startswith('best_score'):
                if isinstance(info[key], Tensor) and info[key].numel() == 1:
                    info[key] = info[key].item()
                known = isinstance(info[key], int | float)
            else:
                info[key] = PurePath(str(info[key])).name
                known = bool((match := self.names.fullmatch(info[key])) and match[1])
            if not known:
                del info[key]
        numbers = info.pop('keep_ckpt_ids', None)
        numbers = numbers if isinstance(numbers, list) else []
        numbers = [number for number in numbers if type(number) is int and number >= 0]
        if self.max_keep_ckpts <= 0:
            return []
        info['keep_ckpt_ids'] = numbers[-self.max_keep_ckpts :]
        return numbers[: -self.max_keep_ckpts]

    def _move_best_here(self, info: dict[str, Any]) -> None:
        """The best checkpoint is that of this run's own folder, also where the folder is a copy."""
        for key in [key for key in info if key.startswith('best_ckpt')]:
            info[key] = self.file_backend.join_path(self.out_dir, info[key])
        if self.save_best is None:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = info.get('best_ckpt')
        else:
            for name in self.key_indicators:
                self.best_ckpt_path_dict[name] = info.get(f'best_ckpt_{name}')

    def _step_of(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def _path_of(self, runner: Runner) -> str:
        return self._path(self._step_of(runner))

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    @property
    def names(self) -> re.Pattern[str]:
        """Names of the files that this hook writes; that of a best one has a first group."""
        return re.compile(f'(best_.+_)?{name_pattern(self.filename_tmpl)}')

    def _is_own(self, path: str) -> bool:
        """Whether a file is a checkpoint that lies in this folder itself: no link, no folder."""
        if '://' in self.out_dir:
            parent, _, name = path.rpartition('/')
            return parent == self.out_dir.rstrip('/') and self.names.fullmatch(name) is not None
        file = Path(path)
        own = file.parent.resolve() == Path(self.out_dir).resolve()
        own = own and self.names.fullmatch(file.name) is not None
        return own and file.is_file() and not file.is_symlink()

    @contextmanager
    def _removal_afterwards(self) -> Iterator[None]:
        """Keep every file that is to be removed until the end, and for good if there is an error.

        What is no checkpoint of this folder stays: the checkpoint of a copied work dir, or a
        hostile one, may name any path.
        """
        backend = self.file_backend
        if 'remove' in backend.__dict__:  # the outer of two does it
            yield
            return
        removals: list[str] = []
        # attributes of the object, which hide the methods of its class; folders are never removed
        backend.__dict__['remove'] = lambda path: removals.append(str(path))
        backend.__dict__['rmtree'] = lambda path: None
        try:
            yield
        finally:
            del backend.__dict__['remove'], backend.__dict__['rmtree']
        for path in filter(self._is_own, removals):
            backend.remove(path)


def validation_is_due(runner: Runner) -> bool:
    """Whether the checkpoint that a run was resumed from lacks the validation that follows it."""
    loop = runner.train_loop
    if runner.val_loop is None or runner.iter == 0:
        return False
    if runner.message_hub.runtime_info.get('last_validation') == runner.iter:
        return False
    by_iter = isinstance(loop, IterBasedTrainLoop)
    begun, _ = epoch_begin(runner)
    if not by_iter and begun == runner.epoch:  # in the middle of an epoch
        return False
    loop._decide_current_val_interval()
    step, end = (loop.iter, loop.max_iters) if by_iter else (loop.epoch, loop.max_epochs)
    return step >= loop.val_begin and (step % loop.val_interval == 0 or step == end)
