r"""Show where the time of one BSS training step goes.

    OMP_NUM_THREADS=1 python benchmarks/profile_step.py \
        configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py

Prints the median milliseconds of each phase, on a student that has been distilled for a while,
and the operators that take the longest.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from common import batches, build, set_weights, synchronise, warmed_up
from mmengine.config import Config, DictAction
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mmbss.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper

REST = 'the rest: losses, choice of samples'


class Phases:
    """Stopwatch around the methods that a training step calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.current: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, method: str, name: Callable[[Any], str] | str) -> None:
        """Time every call of ``owner.method`` under the given name."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronise()
            start = time.perf_counter()
            result = original(*args, **kwargs)
            synchronise()
            phase = name if isinstance(name, str) else name(args[0])
            self.current[phase] += time.perf_counter() - start
            return result

        # beside the class's own method, so also on a module
        owner.__dict__[method] = timed

    def close_step(self, seconds: float) -> None:
        """File the phases of a step that took so many seconds in all."""
        self.current[REST] = seconds - sum(self.current.values())
        for name, value in self.current.items():
            self.seconds[name].append(value)
        self.current.clear()


def watch_step(model: nn.Module, wrapper: OptimWrapper, batch_size: int) -> Phases:
    """Put a stopwatch on every phase of a training step."""
    phases = Phases()
    phases.watch(model.data_preprocessor, 'forward', 'augmentation, normalisation')
    phases.watch(
        model,
        'extract_feat',
        lambda images: (
            'student forward, clean' if len(images) == batch_size else 'student forward, boundary'
        ),
    )
    phases.watch(model, 'ask_teacher', 'teacher forward, clean')
    phases.watch(model.terms['loss_bss'].attack, 'run', 'attack')
    phases.watch(wrapper, 'backward', 'backward')
    phases.watch(wrapper, 'step', 'optimizer')
    return phases


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a BSS distillation')
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument(
        '--amp', action='store_true', help='bfloat16 autocast, as in tools/train.py'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--warm-up-steps', type=int, default=60)
    args = parser.parse_args()
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    torch.manual_seed(0)
    size = cfg.train_dataloader.batch_size
    stream = batches(cfg, size)
    state = warmed_up(cfg, stream, args.warm_up_steps)
    model = build(cfg)
    model.load_state_dict(state)
    set_weights(model, alpha=4.0, beta=2.0)
    kind = CPUAmpOptimWrapper if args.amp else OptimWrapper
    wrapper = kind(torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9))
    for _ in range(3):
        model.train_step(next(stream), wrapper)

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        model.train_step(next(stream), wrapper)
    print(profiler.key_averages().table(sort_by='self_cpu_time_total', row_limit=12))

    phases = watch_step(model, wrapper, size)
    totals = []
    for _ in range(args.repeats):
        batch = next(stream)
        start = time.perf_counter()
        model.train_step(batch, wrapper)
        synchronise()
        totals.append(time.perf_counter() - start)
        phases.close_step(totals[-1])
    total = statistics.median(totals)
    print(f'{torch.get_num_threads()} thread(s), median of {args.repeats} steps\n')
    print('| phase | ms | share |\n|---|---:|---:|')
    for name, values in phases.seconds.items():
        median = statistics.median(values)
        print(f'| {name} | {1000 * median:.1f} | {100 * median / total:.0f}% |')
    print(f'| the whole step | {1000 * total:.1f} | |')


if __name__ == '__main__':
    main()
