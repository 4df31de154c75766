r"""Time a training step: the published algorithm transcribed simply, against mmbss.

    python benchmarks/training_step.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        --threads 1 2 --out work_dirs/training_step.json

All contenders share the teacher's weights, the student's weights and the batches, and take turns;
the table gives medians and the ratios of medians, since machines are noisy. Each has a process of
its own, and with it its own memory: in one process, what one contender has freed would serve the
next. The distillers run through mmengine's optimizer wrapper, data preprocessor and augmentation
included; the reference gets its images normalised. Steps are taken on a student that has been
distilled for a while, so that the batch has its base samples.
"""

import argparse
import copy
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from common import batches, build, load_distiller, set_weights, warmed_up
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope, init_default_scope
from reference_step import ReferenceStep
from torch import Tensor, nn

from mmbss.distillers.classifiers import plain_classifier
from mmbss.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from mmbss.registry import MODELS


@dataclass(frozen=True)
class Options:
    """What makes a contender fast: arguments of ``accelerate``, and whether it trains in 16 bit."""

    teacher: dict[str, Any] = field(default_factory=dict)
    student: dict[str, Any] = field(default_factory=dict)
    amp: bool = False


NHWC = dict(channels_last=True)
FLOAT32 = dict(fuse_bn=True, channels_last=True)
BFLOAT16 = dict(FLOAT32, precision='bfloat16')

CONTENDERS = {
    'mmbss': Options(),
    'fused teacher': Options(dict(fuse_bn=True)),
    'fused teacher, channels last': Options(FLOAT32, NHWC),
    '... Winograd': Options(dict(FLOAT32, winograd='4x2'), dict(NHWC, winograd='4x4')),
    '... bfloat16': Options(BFLOAT16, NHWC, amp=True),
    '... bfloat16, Winograd': Options(dict(BFLOAT16, winograd='4x4'), NHWC, amp=True),
}
#: Turns that are not counted: operators are compiled, memory is got.
WARM_UP_TURNS = 3
LEARNING_RATE = 1e-3

Step = Callable[[dict[str, Any]], Any]


def optimizer(model: nn.Module) -> torch.optim.SGD:
    """The optimizer of all contenders."""
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)


def reference_steps(cfg: Config, state: dict[str, Any], args: argparse.Namespace) -> list[Step]:
    """The published step and its KD; calling one with a batch takes the step."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        student = MODELS.build(plain_classifier(load_distiller(cfg)))
    student.load_state_dict(state)
    student.train()
    teacher = build(cfg, {}).teacher.network  # as it was trained
    teacher.requires_grad_(True)
    steps: list[Step] = []
    for beta in (args.beta, 0.0):
        own = copy.deepcopy(student)
        step = ReferenceStep(teacher.forward, own.forward, optimizer(own), args.alpha, beta)
        steps.append(lambda batch, step=step: step(*normalised(student, batch)))
    return steps


def distiller_steps(
    cfg: Config, state: dict[str, Any], args: argparse.Namespace, options: Options
) -> list[Step]:
    """The step of a distiller and its KD."""
    steps: list[Step] = []
    for beta in (args.beta, 0.0):
        model = build(cfg, dict(teacher=options.teacher, student=options.student))
        model.load_state_dict(state)
        set_weights(model, args.alpha, beta)
        wrapper = (CPUAmpOptimWrapper if options.amp else OptimWrapper)(optimizer(model))
        steps.append(lambda batch, model=model, wrapper=wrapper: model.train_step(batch, wrapper))
    return steps


def take_turns(name: str, threads: int, args: argparse.Namespace, turn: Connection) -> None:
    """Be one contender: wait for the turn, take a step of BSS and one of KD, tell the seconds."""
    torch.set_num_threads(threads)
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(args.config)
    state = torch.load(args.out.with_suffix('.pth'), weights_only=True)
    options = CONTENDERS.get(name)
    steps = (
        distiller_steps(cfg, state, args, options) if options else reference_steps(cfg, state, args)
    )
    stream = batches(cfg, args.batch_size)
    for seed in iter(turn.recv, None):
        batch, seconds = next(stream), []
        for step in steps:
            own = copy.deepcopy(batch)
            torch.manual_seed(seed)
            start = time.perf_counter()
            step(own)
            seconds.append(time.perf_counter() - start)
        turn.send(seconds)


def normalised(student: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch as the student gets them, without augmentation."""
    batch = student.data_preprocessor(batch, False)
    return batch['inputs'], torch.cat([sample.gt_label for sample in batch['data_samples']])


def measure(threads: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Median seconds of BSS and of KD for each contender."""
    context = multiprocessing.get_context('spawn')
    turns, processes, times = {}, [], {}
    for name in ('reference', *args.only):
        turns[name], theirs = context.Pipe()
        process = context.Process(
            target=take_turns, args=(name, threads, args, theirs), daemon=True
        )
        process.start()
        processes.append(process)
        times[name] = []
    for seed in range(args.repeats + WARM_UP_TURNS):
        for name, turn in turns.items():
            turn.send(seed)
            times[name].append(turn.recv())
    for turn, process in zip(turns.values(), processes, strict=True):
        turn.send(None)
        process.join()
    return {
        name: [statistics.median(kind) for kind in zip(*values[WARM_UP_TURNS:], strict=True)]
        for name, values in times.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a BSS distillation')
    parser.add_argument('--threads', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--only', nargs='+', choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--warm-up-steps', type=int, default=60)
    parser.add_argument('--alpha', type=float, default=4.0)
    parser.add_argument('--beta', type=float, default=2.0)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/training_step.json'))
    args = parser.parse_args()
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(args.config)
    torch.manual_seed(0)
    stream = batches(cfg, args.batch_size)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(warmed_up(cfg, stream, args.warm_up_steps), args.out.with_suffix('.pth'))
    results = {}
    for threads in args.threads:
        results[threads] = measure(threads, args)
        print(f'\n{threads} thread(s), median of {args.repeats} turns\n')
        print('| step | BSS, s | reference / step | KD, s | BSS / KD |')
        print('|---|---:|---:|---:|---:|')
        reference = results[threads]['reference'][0]
        for name, (bss, kd) in results[threads].items():
            print(f'| {name} | {bss:.3f} | {reference / bss:.2f} | {kd:.3f} | {bss / kd:.2f} |')
    args.out.write_text(json.dumps(results, indent=2))


if __name__ == '__main__':
    main()
