r"""Measure what each metric adds to the time of a validation.

    python benchmarks/metrics_time.py --teacher CONFIG CHECKPOINT --student CONFIG CHECKPOINT

A validation of the first test images with the accuracy alone takes turns with one that has the
metric too, on all of these images; printed are medians of the ratios of two that follow each
other, and of the CPU seconds that the metric adds for 1,000 images. With ``num_samples`` a
metric's share shrinks in proportion.
"""

import argparse
import copy
import statistics
import time
from typing import Any

from common import synchronise
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy

from mmbss.registry import METRICS
from mmbss.report.evaluation import BOUNDARY_ATTACK, evaluate_model, load_classifier


def metric_configs(teacher: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The metrics by the name of their row."""
    fgsm = dict(type='mmbss.FGSMAttack', radius=2.0)
    pgd = dict(type='mmbss.PGDAttack', radius=2.0, step_size=0.5, num_steps=20)
    return {
        'CalibrationError': dict(type='mmbss.CalibrationError'),
        'Agreement': dict(type='mmbss.Agreement', teacher=teacher),
        'Agreement at the boundary': dict(
            type='mmbss.Agreement', teacher=teacher, attack=BOUNDARY_ATTACK
        ),
        'BoundarySimilarity': dict(type='mmbss.BoundarySimilarity', teacher=teacher),
        'BoundaryDistance': dict(type='mmbss.BoundaryDistance', teacher=teacher),
        'BoundaryVisibility': dict(type='mmbss.BoundaryVisibility', teacher=teacher),
        'TransitionError': dict(type='mmbss.TransitionError', teacher=teacher),
        'CorruptionAccuracy': dict(type='mmbss.CorruptionAccuracy'),
        'RobustAccuracy, FGSM': dict(type='mmbss.RobustAccuracy', attacks=dict(fgsm=fgsm)),
        'RobustAccuracy, PGD of 20 steps': dict(type='mmbss.RobustAccuracy', attacks=dict(pgd=pgd)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pair = ('CONFIG', 'CHECKPOINT')
    parser.add_argument('--teacher', nargs=2, required=True, metavar=pair)
    parser.add_argument('--student', nargs=2, required=True, metavar=pair)
    parser.add_argument('--images', type=int, default=500)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--only', nargs='+', metavar='NAME', help='rows whose name begins so')
    args = parser.parse_args()
    keys = ('config', 'checkpoint')
    teacher, student = (dict(zip(keys, each, strict=True)) for each in (args.teacher, args.student))
    loader_config = copy.deepcopy(Config.fromfile(student['config']).test_dataloader)
    loader_config.dataset.indices = args.images
    model = load_classifier(student, 'student')

    def seconds(*more: Any) -> tuple[float, float]:
        """Wall and CPU time of a validation."""
        synchronise()
        start = time.perf_counter(), time.process_time()
        evaluate_model(model, [Accuracy(topk=(1,)), *more], loader)
        synchronise()
        return time.perf_counter() - start[0], time.process_time() - start[1]

    print('| metric | time of a validation with it, plain = 1 | CPU s for 1,000 images |')
    print('|---|---:|---:|')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(loader_config)
        for name, config in metric_configs(teacher).items():
            if args.only and not name.startswith(tuple(args.only)):
                continue
            metric = METRICS.build(config)
            seconds(metric)
            pairs = [(seconds(metric), seconds()) for _ in range(args.repeats)]
            ratio = statistics.median(own[0] / plain[0] for own, plain in pairs)
            added = statistics.median(own[1] - plain[1] for own, plain in pairs)
            print(f'| {name} | {ratio:.1f} | {1000 * added / args.images:.1f} |', flush=True)


if __name__ == '__main__':
    main()
