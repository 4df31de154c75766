r"""Measure the peak memory of a BSS training step against that of plain KD.

    python benchmarks/memory.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py

Each kind of step runs in a process of its own; the figure is the growth of the peak resident set
over what the process held before the first step, and the peak itself.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path


def peak_mib() -> float:
    """Peak resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def take_steps(config: str, beta: float, steps: int) -> dict[str, float]:
    """Peak memory before and after some steps."""
    import torch
    from common import batches, build, set_weights
    from mmengine.config import Config
    from mmengine.optim import OptimWrapper

    cfg = Config.fromfile(config)
    model = build(cfg)
    model.init_weights()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    stream = batches(cfg, cfg.train_dataloader.batch_size)
    batch = next(stream)
    before = peak_mib()
    set_weights(model, 4.0, beta)
    for _ in range(steps):
        model.train_step(batch, wrapper)
        batch = next(stream)
    return dict(before=before, after=peak_mib())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a BSS distillation')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--beta', type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.beta is not None:
        print(json.dumps(take_steps(args.config, args.beta, args.steps)))
        return
    peaks = {}
    for name, beta in (('KD', 0.0), ('BSS', 2.0)):
        command = [sys.executable, str(Path(__file__)), args.config, '--steps', str(args.steps)]
        output = subprocess.run(
            [*command, '--beta', str(beta)], capture_output=True, text=True, check=True
        ).stdout
        peaks[name] = json.loads(output.strip().splitlines()[-1])
    for name, peak in peaks.items():
        growth = peak['after'] - peak['before']
        print(f'{name}: peak {peak["after"]:.0f} MiB, of which {growth:.0f} MiB for the step')
    step = {name: peak['after'] - peak['before'] for name, peak in peaks.items()}
    print(f'BSS / KD: peak {peaks["BSS"]["after"] / peaks["KD"]["after"]:.2f}, ', end='')
    print(f'step alone {step["BSS"] / step["KD"]:.2f}')


if __name__ == '__main__':
    main()
