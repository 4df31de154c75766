r"""Kill a run at random moments, resume it each time, and compare it with one left alone.

    python benchmarks/kill_resume.py --kills 20 --workers 0 2

A BSS run on the handwritten digits with everything that has a state: crops and flips drawn in the
data pipeline and others in the preprocessor, shuffling, an average of the weights (EMA), bfloat16
autocast, an accumulation of gradients that does not divide the epoch, schedules of losses and
learning rate, a validation every epoch, and a checkpoint every epoch or, with --interval, every so
many iterations, so that runs are resumed within an epoch too. It is killed with SIGKILL, every
third time while a checkpoint is being written, and resumed. Weights, averages, optimizer, schedules
and all logged values must be equal, bit by bit, to those of the run that nobody has killed. The
teacher of `make demo` is trained first if it is not there.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mmbss.engine.files.atomic import PART

ROOT = Path(__file__).resolve().parents[1]
TEACHER = 'configs/baseline/resnet14_1xb64-30e_digits.py'
# of the same run under a name of its own, or of the machine
NOT_COMPARED = ('time', 'data_time', 'eta', 'memory')
#: Seconds after the first line about the training in which a run is killed.
LATEST = 4.0


def run_config(epochs: int, workers: int, interval: int | None) -> Config:
    """Config of the run; ``interval`` is that of checkpoints by iteration."""
    cfg = Config.fromfile(ROOT / 'configs/bss/bss_resnet14-to-resnet8-w2_1xb64-30e_digits.py')
    cfg.train_dataloader.update(num_workers=workers, batch_size=128)
    cfg.train_dataloader.dataset.pipeline = [
        dict(type='RandomCrop', crop_size=8, padding=1),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackInputs'),
    ]
    cfg.data_preprocessor.flip_probability = 0.5
    # ten iterations an epoch, so that some gradients wait for the next one
    cfg.optim_wrapper.update(type='mmbss.CPUAmpOptimWrapper', accumulative_counts=3)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.01)]
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler.milestones = [epochs // 2, epochs * 3 // 4]
    cfg.default_hooks.logger.interval = 3
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    if interval is not None:
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=interval)
    cfg.randomness = dict(seed=0)
    return cfg


def start(config: Path, folder: Path) -> subprocess.Popen:
    """Start or resume the run."""
    command = [sys.executable, ROOT / 'tools/train.py', config, '--resume', '--work-dir', folder]
    with (folder / 'output.log').open('a') as log:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, OMP_NUM_THREADS='1'),
            start_new_session=True,
        )


def being_written(folder: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any(path.suffix == PART for path in folder.iterdir())


def kill_at_random(process: subprocess.Popen, folder: Path, draw: random.Random, part: bool) -> str:
    """Wait for the training to begin, then for a random moment, and kill.

    Args:
        process: The run.
        folder: Its work dir.
        draw: Draws the moment.
        part: Kill while a checkpoint is being written.

    Returns:
        Where it was: ``'writing'``, ``'running'``, or ``'ended'`` if it came too late.
    """
    log = folder / 'output.log'
    begin = log.stat().st_size
    while process.poll() is None and b'Epoch(train)' not in log.read_bytes()[begin:]:
        time.sleep(0.01)
    deadline = time.monotonic() + draw.uniform(0, LATEST)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    while part and process.poll() is None and not being_written(folder):
        pass
    if process.poll() is not None:
        return 'ended'
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return 'writing' if being_written(folder) else 'running'


def logged_values(folder: Path) -> dict[str, dict[str, float]]:
    """Every logged value, by kind and step; of an iteration that was repeated the last."""
    values = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        # the last line of a killed run may be cut short
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            kind = 'train' if 'lr' in record else 'val'
            kept = {key: value for key, value in record.items() if key not in NOT_COMPARED}
            values[f'{kind} {record["step"]}'] = kept
    return values


def flat(value: Any, name: str = '') -> dict[str, Any]:
    """Leaves of nested dicts and lists by their path."""
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    else:
        return {name: value}
    return {k: v for key, child in children for k, v in flat(child, f'{name}.{key}').items()}


def last_checkpoint(folder: Path) -> dict[str, Any]:
    """Content of the last checkpoint of a run."""
    name = Path((folder / 'last_checkpoint').read_text()).name
    return torch.load(folder / name, weights_only=True)


def differences(first: Path, second: Path) -> list[str]:
    """Names of whatever is not the same after both runs."""
    found = []
    one, other = last_checkpoint(first), last_checkpoint(second)
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        left, right = flat(one[part], part), flat(other[part], part)
        found += sorted(left.keys() ^ right.keys())
        for name in left.keys() & right.keys():
            a, b = left[name], right[name]
            same = torch.equal(a, b) if isinstance(a, Tensor) else a == b
            if not same:
                found.append(name)
    left, right = logged_values(first), logged_values(second)
    found += [name for name in left.keys() | right.keys() if left.get(name) != right.get(name)]
    return found


def compare(
    folder: Path, kills: int, workers: int, epochs: int, seed: int, interval: int | None = None
) -> dict[str, Any]:
    """One run left alone and one that is killed.

    Returns:
        How often it was killed where, and what differs.
    """
    alone, killed = folder / f'alone-{workers}', folder / f'killed-{workers}'
    for path in (alone, killed):
        path.mkdir(parents=True)
    config = folder / f'bss-{workers}.py'
    run_config(epochs, workers, interval).dump(config)
    if start(config, alone).wait():
        raise RuntimeError((alone / 'output.log').read_text()[-2000:])
    draw = random.Random(seed)
    moments = []
    while moments.count('running') + moments.count('writing') < kills:
        part = len(moments) % 3 == 2
        moments.append(kill_at_random(start(config, killed), killed, draw, part))
        if moments[-1] == 'ended':
            break
    if start(config, killed).wait():
        raise RuntimeError((killed / 'output.log').read_text()[-2000:])
    return dict(
        workers=workers,
        killed_while_training=moments.count('running'),
        killed_while_writing=moments.count('writing'),
        differences=differences(alone, killed),
    )


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2])
    parser.add_argument('--epochs', type=int, default=120)
    parser.add_argument('--interval', type=int, help='iterations from checkpoint to checkpoint')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--folder', type=Path, default=Path('work_dirs/kill_resume'))
    args = parser.parse_args()
    if not (ROOT / 'work_dirs/resnet14_1xb64-30e_digits/epoch_30.pth').is_file():
        subprocess.run([sys.executable, 'tools/train.py', TEACHER], cwd=ROOT, check=True)
    failed = False
    print(
        '| workers | killed while training | while writing a checkpoint | differences | seconds |'
    )
    print('|---:|---:|---:|---:|---:|')
    for workers in args.workers:
        begin = time.monotonic()
        result = compare(
            args.folder.resolve(), args.kills, workers, args.epochs, args.seed, args.interval
        )
        print(
            f'| {workers} | {result["killed_while_training"]} | {result["killed_while_writing"]} '
            f'| {len(result["differences"])} | {time.monotonic() - begin:.0f} |',
            flush=True,
        )
        for name in result['differences'][:20]:
            print(f'differs: {name}', file=sys.stderr)
        failed |= bool(result['differences'])
    sys.exit(failed)


if __name__ == '__main__':
    main()
