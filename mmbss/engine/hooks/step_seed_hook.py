"""Random numbers that depend on where a run stands, not on how it got there."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dataset import worker_init_fn as constant_seeds
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmbss.engine.errors import ConfigError
from mmbss.engine.randomness import seed_everything
from mmbss.registry import HOOKS

#: What the random numbers are for.
LOADING, STEP, VALIDATION = range(3)


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds Python, NumPy and torch from the run's seed, the process and the iteration.

    So a resumed run draws the same augmentations, base samples, target classes and dropout as
    one that was never interrupted, from the seed and the iteration that every checkpoint holds;
    and each process of a distributed run draws others. Data workers start anew in every epoch,
    since the random state of one that persists cannot be restored. (mmengine gives new workers
    the same seed in every epoch, and so the same augmentations; here they are drawn afresh.)

    A run that is resumed in the middle of an epoch loads the batches that it has seen and leaves
    them out. (mmengine begins such an epoch again.)

    Raises:
        ConfigError: Before the training, if an epoch would never end, or end in one process while
            others wait for it.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Let torch seed the workers from the random state of the epoch; leave seen batches out."""
        loader = runner.train_dataloader
        init = loader.worker_init_fn
        if isinstance(init, partial) and init.func is constant_seeds:
            loader.worker_init_fn = None
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            return
        check_epochs(loader)
        run_iter = loop.run_iter

        def run_unseen(index: int, batch: Any) -> None:
            _, begin = epoch_begin(runner)
            iteration = begin + index
            if iteration >= runner.iter:
                run_iter(index, batch)
            seed_everything(runner.seed, get_rank(), iteration + 1, LOADING)

        # an attribute of the object, which hides the method of its class
        loop.run_iter = run_unseen

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed what loads the first batches."""
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = SeededBatches(loop.dataloader_iterator, runner.seed)
            return
        # a checkpoint from within an epoch says when it has begun
        epoch, begin = epoch_begin(runner)
        if epoch != runner.epoch:
            begin = runner.iter
            runner.message_hub.update_info('epoch_begin', (runner.epoch, begin))
        seed_everything(runner.seed, get_rank(), begin, LOADING)
        if loop.dataloader.persistent_workers:
            loop.dataloader._iterator = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the step."""
        seed_everything(runner.seed, get_rank(), runner.iter, STEP)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed metrics that draw."""
        seed_everything(runner.seed, get_rank(), runner.iter, VALIDATION)


def check_epochs(loader: DataLoader) -> None:
    """Refuse batches that never end, or of which processes have different numbers.

    Raises:
        ConfigError: What to set instead.
    """
    if isinstance(getattr(loader.batch_sampler, 'sampler', loader.sampler), InfiniteSampler):
        raise ConfigError(
            'train_dataloader.sampler=InfiniteSampler: an epoch of it never ends, so nothing is '
            'validated or stored: take DefaultSampler, or train_cfg.by_epoch=False with max_iters'
        )
    lengths: list[Any] = all_gather_object(len(loader))
    if len({*lengths}) > 1:
        raise ConfigError(
            f'train_dataloader: the processes have {", ".join(map(str, lengths))} batches an '
            'epoch, so the first would wait for ever for the others: set sampler.round_up=True, '
            'or give each the same data'
        )


def epoch_begin(runner: Runner) -> tuple[int, int]:
    """The epoch that has begun last, and its first iteration; (-1, -1) before the first."""
    return runner.message_hub.runtime_info.get('epoch_begin', (-1, -1))


class SeededBatches:
    """Seeds before each batch of a training by iteration, also those that a resume skips."""

    def __init__(self, batches: Iterator[Any], seed: int) -> None:
        self.batches = batches
        self.seed = seed
        self.index = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        seed_everything(self.seed, get_rank(), self.index, LOADING)
        self.index += 1
        return next(self.batches)

    def skip_iter(self, num_iters: int) -> None:
        """Load what a resume skips, and with it draw what it draws; the onedl fork calls this."""
        for _ in range(num_iters):
            next(self)
