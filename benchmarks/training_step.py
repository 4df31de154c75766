r"""Time a training step: the published algorithm transcribed simply, against mmbss.

    python benchmarks/training_step.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        --threads 1 2 --out work_dirs/training_step.json

All contenders share the teacher's weights, the student's weights and the batches, and take turns;
the table gives medians and the ratios of medians, since machines are noisy. Beside the published
step and plain KD stands a product of two matrices: the most that the machine can do. A step's
share of it counts the multiplications and additions of its convolutions as they are defined, so
that Winograd, which needs fewer, may go beyond. Each has a process of
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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from common import batches, build, load_distiller, set_weights, warmed_up
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope, init_default_scope
from reference_step import ReferenceStep, plain_kd_step
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmbss.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from mmbss.registry import MODELS
from mmbss.teachers.classifiers import plain_classifier


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
#: Side of the matrices of which the peak is a product, and their types.
SIDE = 2048
PEAKS = {'product in float32': torch.float32, 'product in bfloat16': torch.bfloat16}
#: Turns that are not counted: operators are compiled, memory is got.
WARM_UP_TURNS = 3
LEARNING_RATE = 1e-3

Step = Callable[[dict[str, Any]], Any]


def optimizer(model: nn.Module) -> torch.optim.SGD:
    """The optimizer of all contenders."""
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)


def simple_steps(cfg: Config, state: dict[str, Any], args: argparse.Namespace) -> dict[str, Step]:
    """The published step, its KD and plain KD; calling one with a batch takes the step."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        student = MODELS.build(plain_classifier(load_distiller(cfg)))
    student.load_state_dict(state)
    student.train()
    teacher = build(cfg, {}).teacher.network  # as it was trained
    teacher.requires_grad_(True)
    own = [copy.deepcopy(student) for _ in range(3)]
    kinds = {
        'BSS': ReferenceStep(teacher, own[0], optimizer(own[0]), args.alpha, args.beta),
        'KD': ReferenceStep(teacher, own[1], optimizer(own[1]), args.alpha, 0.0),
        'plain KD': partial(plain_kd_step, teacher, own[2], optimizer(own[2]), args.alpha),
    }
    return {
        kind: lambda batch, step=step: step(*normalised(student, batch))
        for kind, step in kinds.items()
    }


def distiller_steps(
    cfg: Config, state: dict[str, Any], args: argparse.Namespace, options: Options
) -> dict[str, Step]:
    """The step of a distiller and its KD."""
    steps: dict[str, Step] = {}
    for kind, beta in (('BSS', args.beta), ('KD', 0.0)):
        model = build(cfg, dict(teacher=options.teacher, student=options.student))
        model.load_state_dict(state)
        set_weights(model, args.alpha, beta)
        wrapper = (CPUAmpOptimWrapper if options.amp else OptimWrapper)(optimizer(model))
        steps[kind] = lambda batch, model=model, wrapper=wrapper: model.train_step(batch, wrapper)
    return steps


class CountOperations(TorchDispatchMode):
    """Counts additions and multiplications.

    torch's ``FlopCounterMode`` also tells modules apart, which an attack's gradients do not allow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operator, and add what torch knows of it."""
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def products() -> dict[str, Step]:
    """Products of two matrices in each type; what the machine can do at most."""
    sides = {name: torch.randn(SIDE, SIDE).to(dtype) for name, dtype in PEAKS.items()}
    return {name: lambda batch, side=side: side @ side for name, side in sides.items()}


def take_turns(name: str, threads: int, args: argparse.Namespace, turn: Connection) -> None:
    """Be one contender: wait for the turn, take a step of each kind, tell the seconds.

    First the operations of each kind are told, by the contender without ways round them.
    """
    torch.set_num_threads(threads)
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(args.config)
    state = torch.load(args.out.with_suffix('.pth'), weights_only=True)
    if name == 'products':
        steps = products()
    elif name in CONTENDERS:
        steps = distiller_steps(cfg, state, args, CONTENDERS[name])
    else:
        steps = simple_steps(cfg, state, args)
    stream = batches(cfg, args.batch_size)
    operations = {}
    for kind, step in steps.items() if name == 'mmbss' else ():
        with CountOperations() as counter:
            step(copy.deepcopy(next(stream)))
        operations[kind] = counter.total
    turn.send(operations)
    for seed in iter(turn.recv, None):
        batch, seconds = next(stream), {}
        for kind, step in steps.items():
            own = copy.deepcopy(batch)
            torch.manual_seed(seed)
            start = time.perf_counter()
            step(own)
            seconds[kind] = time.perf_counter() - start
        turn.send(seconds)


def normalised(student: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch as the student gets them, without augmentation."""
    batch = student.data_preprocessor(batch, False)
    return batch['inputs'], torch.cat([sample.gt_label for sample in batch['data_samples']])


@dataclass(frozen=True)
class Measured:
    """Median seconds of the kinds of steps of a contender, and operations that they count."""

    seconds: dict[str, float]
    operations: dict[str, int]


def measure(threads: int, args: argparse.Namespace) -> dict[str, Measured]:
    """What each contender needs."""
    context = multiprocessing.get_context('spawn')
    turns, processes = {}, []
    times: dict[str, list[dict[str, float]]] = {}
    for name in ('products', 'reference', *args.only):
        turns[name], theirs = context.Pipe()
        process = context.Process(
            target=take_turns, args=(name, threads, args, theirs), daemon=True
        )
        process.start()
        processes.append(process)
        times[name] = []
    operations = {name: turn.recv() for name, turn in turns.items()}
    for seed in range(args.repeats + WARM_UP_TURNS):
        for name, turn in turns.items():
            turn.send(seed)
            times[name].append(turn.recv())
    for turn, process in zip(turns.values(), processes, strict=True):
        turn.send(None)
        process.join()
    return {
        name: Measured(
            {
                kind: statistics.median(turn[kind] for turn in values[WARM_UP_TURNS:])
                for kind in values[0]
            },
            operations[name],
        )
        for name, values in times.items()
    }


def rows(measured: dict[str, Measured]) -> Iterator[str]:
    """Lines of the table."""
    product = measured['products']
    peaks = {kind: 2 * SIDE**3 / product.seconds[kind] for kind in PEAKS}
    for kind, peak in peaks.items():
        yield f'A {kind} of {SIDE} x {SIDE}: {peak / 1e9:.0f} GFLOP/s.'
    reference = measured['reference']
    plain = reference.seconds['plain KD']
    yield f'\nPlain KD without mmbss: {plain:.3f} s.\n'
    yield '| step | BSS, s | reference / step | KD, s | plain KD / KD | BSS / KD | share of peak |'
    yield '|---|---:|---:|---:|---:|---:|---:|'
    needed = measured['mmbss'].operations['BSS'] if 'mmbss' in measured else None
    for name, each in measured.items():
        if name == 'products':
            continue
        bss, kd = each.seconds['BSS'], each.seconds['KD']
        peak = peaks['product in bfloat16' if 'bfloat16' in name else 'product in float32']
        share = f'{needed / bss / peak:.0%}' if needed else ''
        yield (
            f'| {name} | {bss:.3f} | {reference.seconds["BSS"] / bss:.2f} | {kd:.3f} '
            f'| {plain / kd:.2f} | {bss / kd:.2f} | {share} |'
        )


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
        print(*rows(results[threads]), sep='\n')
    stored = {
        threads: {name: asdict(each) for name, each in measured.items()}
        for threads, measured in results.items()
    }
    args.out.write_text(json.dumps(stored, indent=2))


if __name__ == '__main__':
    main()
