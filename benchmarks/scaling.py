r"""Show how the cost of the attack grows with the samples and with the number of classes.

    python benchmarks/scaling.py --samples 16 32 64 128 256 --classes 10 100 1000

A ResNet26 with random weights is attacked with exactly one gradient a sample, so that only the
number of samples, or only the width of the head, differs between two rows.
"""

import argparse
import statistics
import time

import torch
from torch import nn

import mmbss  # noqa: F401
from mmbss.attacks import BSSAttack
from mmbss.backbones import CIFARResNet


class Network(nn.Module):
    """A CIFAR ResNet26 with a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = CIFARResNet(26)
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) to (N, K)."""
        return self.head(self.backbone(images)[0].mean(dim=(2, 3)))


def prepared(num_samples: int, num_classes: int) -> tuple:
    """Arguments of an attack that evaluates one gradient for each sample."""
    torch.manual_seed(0)
    network = Network(num_classes).eval().requires_grad_(False)
    images = torch.randn(num_samples, 3, 32, 32)
    base = network(images).argmax(dim=1)
    return network, images, base, (base + 1) % num_classes


def median_times(cases: dict[int, tuple], repeats: int) -> dict[int, float]:
    """Median seconds of the attack on each case, in turn."""
    attack = BSSAttack(num_steps=1)
    times: dict[int, list[float]] = {case: [] for case in cases}
    for turn in range(repeats + 1):
        for case, arguments in cases.items():
            start = time.perf_counter()
            attack(*arguments)
            if turn:  # the first turn warms up
                times[case].append(time.perf_counter() - start)
    return {case: statistics.median(values) for case, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--samples', nargs='+', type=int, default=[16, 32, 64, 128, 256])
    parser.add_argument('--classes', nargs='+', type=int, default=[10, 100, 1000])
    parser.add_argument('--repeats', type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    by_samples = median_times({n: prepared(n, 10) for n in args.samples}, args.repeats)
    print('| samples | s | ms / sample |\n|---:|---:|---:|')
    for count, seconds in by_samples.items():
        print(f'| {count} | {seconds:.3f} | {1000 * seconds / count:.2f} |')
    by_classes = median_times({k: prepared(64, k) for k in args.classes}, args.repeats)
    fewest = by_classes[args.classes[0]]
    print(f'\n| classes | s | of {args.classes[0]} classes |\n|---:|---:|---:|')
    for count, seconds in by_classes.items():
        print(f'| {count} | {seconds:.3f} | {seconds / fewest:.2f} |')


if __name__ == '__main__':
    main()
