r"""Measure what the training loop adds to the bare step: loader, hooks, logging.

    python benchmarks/loop_overhead.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py

A run through mmengine's runner (its data loader and hooks) takes turns with the same number of
bare training steps on batches that lie ready; both include the data preprocessor.
"""

import argparse
import itertools
import statistics
import tempfile
import time

import torch
from common import batches, synchronise
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmbss.registry import LOOPS


@LOOPS.register_module()
class AlternatingLoop(EpochBasedTrainLoop):
    """Follows each epoch with as many bare training steps, and times both."""

    def run(self) -> torch.nn.Module:
        """Train and print the ratio."""
        stream = batches(self.runner.cfg, self.dataloader.batch_size)
        self.stream = list(itertools.islice(stream, len(self.dataloader)))
        self.in_loop: list[float] = []
        self.bare: list[float] = []
        model = super().run()
        # the first turn warms up
        in_loop, bare = statistics.median(self.in_loop[1:]), statistics.median(self.bare[1:])
        print(
            f'{torch.get_num_threads()} thread(s), median of {len(self.bare) - 1} turns of '
            f'{len(self.stream)} iterations: loop {in_loop:.2f} s, bare steps {bare:.2f} s, '
            f'ratio {in_loop / bare:.3f}'
        )
        return model

    def run_epoch(self) -> None:
        """One epoch in the loop, then the bare steps."""
        start = time.perf_counter()
        super().run_epoch()
        synchronise()
        middle = time.perf_counter()
        for batch in self.stream:
            self.runner.model.train_step(batch, self.runner.optim_wrapper)
        synchronise()
        self.in_loop.append(middle - start)
        self.bare.append(time.perf_counter() - middle)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a distillation')
    parser.add_argument('--iterations', type=int, default=20, help='of each turn')
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    never = args.repeats + 2
    cfg.merge_from_dict(
        {
            'val_cfg': None,
            'val_dataloader': None,
            'val_evaluator': None,
            'train_dataloader.dataset.dataset.indices': args.iterations
            * cfg.train_dataloader.batch_size,
            'train_cfg.type': 'mmbss.AlternatingLoop',
            'train_cfg.max_epochs': args.repeats + 1,
            'default_hooks.checkpoint': dict(interval=never, save_best=None, save_last=False),
            'randomness.seed': 0,
        }
    )
    cfg.train_cfg.pop('by_epoch')
    with tempfile.TemporaryDirectory() as work_dir:
        cfg.work_dir = work_dir
        Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    main()
