r"""Run a whole distillation as fast as the machine can, and write where the time went.

    python benchmarks/full_run.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        --amp --out work_dirs/full_run.json

The run is that of tools/train.py, validated and saved after the last epoch only. The file gets
the seconds of each phase and the accuracy of the last epoch. It is meant for a GPU; to try it on
a CPU, add --cfg-options train_dataloader.dataset.fraction=0.02 train_cfg.max_epochs=4.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from common import synchronise
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.engine.cli.config import merge_amp, merge_common_arguments, merge_options
from mmbss.engine.cli.flags import add_common_arguments
from mmbss.engine.config_checks import build_runner
from mmbss.engine.errors import readable_errors
from mmbss.engine.models import unwrap
from mmbss.registry import HOOKS


@HOOKS.register_module()
class PhaseTimerHook(Hook):
    """Adds up the seconds of each phase of a run.

    Args:
        out: JSON file to write at the end.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.seconds: dict[str, float] = defaultdict(float)
        self.begin = self.start = 0.0

    def before_run(self, runner: Runner) -> None:
        """Start the clock of the whole run."""
        self.begin = time.perf_counter()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock of an epoch."""
        synchronise()
        self.start = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        """File the epoch."""
        if runner.epoch == 0:
            phase = 'first epoch'
        elif unwrap(runner.model).terms['loss_bss'].loss_weight > 0:
            phase = 'other epochs with attacks'
        else:
            phase = 'epochs without attacks'
        self._file(phase)

    def before_val_epoch(self, runner: Runner) -> None:
        """Start the clock of a validation."""
        synchronise()
        self.start = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """File the validation."""
        self._file('validation')

    def after_run(self, runner: Runner) -> None:
        """Write all figures."""
        synchronise()
        total = time.perf_counter() - self.begin
        self.seconds['the rest: loading, checkpoints'] = total - sum(self.seconds.values())
        scalars = runner.message_hub.log_scalars
        on_gpu = torch.cuda.is_available()
        result: dict[str, Any] = dict(
            device=torch.cuda.get_device_name() if on_gpu else 'CPU',
            torch=torch.__version__,
            epochs=runner.epoch,
            iterations=runner.iter,
            seconds=dict(self.seconds, total=total),
            accuracy_of_last_epoch=scalars['val/accuracy/top1'].current(),
        )
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(result, indent=2) + '\n')
        print(json.dumps(result, indent=2))

    def _file(self, phase: str) -> None:
        synchronise()
        self.seconds[phase] += time.perf_counter() - self.start


def main() -> None:
    """Run and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a BSS distillation')
    parser.add_argument('--out', default='work_dirs/full_run.json', help='JSON file to write')
    add_common_arguments(parser)
    args = parser.parse_args()
    with readable_errors():
        cfg = Config.fromfile(args.config)
        merge_common_arguments(cfg, args)
        merge_amp(cfg, args)
        merge_options(cfg, args)
        cfg.train_cfg.val_interval = cfg.train_cfg.max_epochs
        cfg.default_hooks.checkpoint.interval = cfg.train_cfg.max_epochs
        cfg.default_hooks.phase_timer = dict(type='mmbss.PhaseTimerHook', out=args.out)
        build_runner(cfg).train()


if __name__ == '__main__':
    main()
