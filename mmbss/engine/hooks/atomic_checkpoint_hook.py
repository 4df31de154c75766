"""Checkpoints of which a kill at any moment loses none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmbss.engine.atomic import remove_parts
from mmbss.engine.checkpoints import AtomicLocalBackend
from mmbss.engine.hooks.step_seed_hook import epoch_begin
from mmbss.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against kills and full disks.

    A checkpoint appears under its name only when it is whole, an outdated one goes only when its
    successor is there, and each is stored again after its validation, so that a run that was
    killed in between knows at the resume that a validation is due. Arguments as for mmengine's
    hook; with a ``backend_args`` of your own, that storage must replace files atomically itself.
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
        self.stored_validation: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Clear up what a killed run has left, and make up for its last validation."""
        super().before_train(runner)
        if is_main_process() and Path(self.out_dir).is_dir():
            remove_parts(Path(self.out_dir))
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
        """Store the best checkpoint and, in the last one, that it has been validated."""
        runner.message_hub.update_info('last_validation', runner.iter)
        with removal_afterwards(self.file_backend, self.out_dir):
            super().after_val_epoch(runner, metrics)
        stored = self.stored_validation == runner.iter
        if self.last_ckpt == self._path_of(runner) and not stored:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, self._step_of(runner), meta)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, int]) -> None:
        with removal_afterwards(self.file_backend, self.out_dir):
            super()._save_checkpoint_with_step(runner, step, meta)
        self.stored_validation = runner.message_hub.runtime_info.get('last_validation')

    def _step_of(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def _path_of(self, runner: Runner) -> str:
        name = self.filename_tmpl.format(self._step_of(runner))
        return self.file_backend.join_path(self.out_dir, name)


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


def lies_in(path: str, folder: str) -> bool:
    """Whether a file lies in a folder itself, not below it."""
    if '://' in folder:
        return path.startswith(folder)
    return Path(path).resolve().parent == Path(folder).resolve()


@contextmanager
def removal_afterwards(backend: BaseStorageBackend, folder: str) -> Iterator[None]:
    """Keep every file that is to be removed until the end, and for good if there is an error.

    A file that does not lie in the folder is another run's, such as the best checkpoint that the
    checkpoint of a copied work dir, or a hostile one, names: it stays.
    """
    if 'remove' in backend.__dict__:  # the outer of two does it
        yield
        return
    removals: list[tuple[Any, str]] = []
    # attributes of the object, which hide the methods of its class
    backend.__dict__['remove'] = lambda path: removals.append((type(backend).remove, path))
    backend.__dict__['rmtree'] = lambda path: removals.append((type(backend).rmtree, path))
    try:
        yield
    finally:
        del backend.__dict__['remove'], backend.__dict__['rmtree']
    for remove, path in removals:
        if lies_in(str(path), folder):
            remove(backend, path)
