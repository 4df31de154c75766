r"""Print how close to the teacher's decision boundary the samples of several attacks end.

    python benchmarks/boundary_table.py \
        --teacher-config configs/baseline/resnet26_1xb256-80e_cifar10.py \
        --checkpoint work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth \
        --data data/cifar10/test.npz \
        --out work_dirs/boundary_table.json

The samples are the first images of the data that the teacher classifies correctly. L2 is in the
teacher's normalised units; the gaps are the means of |p_b - p_k| and |p_b - p_best other|, in
probability, of the plain teacher. Every attack gets the same teacher, samples and pixel bounds;
the attacks run in turn, and times are medians relative to the published step. Rows marked fast
attack the same teacher with BatchNorm fused, channels-last, by Winograd 4x2. Gradients and forward
passes are a sample's: samples sent through the model over samples attacked, the forward pass of
each gradient included. The attack between two images takes another of the samples, of the target
class, and asks the model for their classes first; a sample without such another is not accepted.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

import mmbss  # noqa: F401  registers the models and repairs the platform
from mmbss.attacks import (
    Attack,
    BSSAttack,
    ClosestAttack,
    LibraryAttack,
    NewtonAttack,
    SegmentAttack,
)
from mmbss.attacks.functional import highest_other_logit, in_base_class, in_target_class
from mmbss.attacks.library import ImageClassifier
from mmbss.boundary.sampling import target_probabilities
from mmbss.engine.errors import readable_errors
from mmbss.registry import MODELS
from mmbss.teachers import Teacher

BSS_ATTACKS: dict[str, Attack] = {
    'published step': BSSAttack(),
    'damped Newton': NewtonAttack(),
    'closest': ClosestAttack(),
    'closest, third class accepted': ClosestAttack(third_class='accept'),
    'between two images': SegmentAttack(),
    'between two images, four passes': SegmentAttack(num_passes=4),
    'between two images, by decisions': SegmentAttack(by='decisions'),
}
FAST_ATTACKS = ('published step', 'closest', 'closest, third class accepted', 'between two images')
#: Marks the rows whose attack gets the teacher fused and channels-last.
FAST = ', fast'
#: Of each untargeted attack of foolbox: its row in the table, its name and its arguments.
LIBRARY_ATTACKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    'deepfool': ('DeepFool', 'L2DeepFoolAttack', dict(steps=50, overshoot=0.02)),
    'ddn': ('DDN', 'DDNAttack', dict(steps=50)),
    'cw': ('C&W L2', 'L2CarliniWagnerAttack', dict(binary_search_steps=5, steps=50)),
}
COLUMNS = (
    'mean L2',
    'gap to target',
    'gap to best other',
    'accepted',
    'third class',
    'gradients',
    'forward passes',
    'time',
)


class CountingModel(nn.Module):
    """Counts the samples that go forward and backward through a model."""

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = logits
        self.forwards = self.backwards = 0
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, K) logits of (N, ...) inputs."""
        self.forwards += len(inputs)
        if inputs.requires_grad:
            inputs.register_hook(self._count_backward)
        return self.model(inputs)

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def build_teacher(config: str, checkpoint: str, **acceleration: Any) -> Teacher:
    """The teacher, in a faster form if asked for, with the data preprocessor of its own config."""
    preprocessor = Config.fromfile(config).data_preprocessor
    preprocessor.setdefault('type', 'mmpretrain.ClsDataPreprocessor')
    return Teacher(
        config=config,
        checkpoint=checkpoint,
        student_preprocessor=MODELS.build(preprocessor),
        acceleration=acceleration,
    )


def load_correct(
    teacher: Teacher, data: str, num_samples: int, first_image: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """The first correctly classified images, normalised, with their labels and logits.

    Args:
        teacher: Classifies the images.
        data: Path of an .npz file with ``images`` (N, H, W, C) uint8 and ``labels`` (N,).
        num_samples: How many to return.
        first_image: Where in the file to begin.

    Returns:
        (M, C, H, W) float32, (M,) int64 and (M, K) float32.
    """
    content = np.load(data)
    # a good teacher is right on far more than half of the images
    part = slice(first_image, first_image + 2 * num_samples)
    images = torch.from_numpy(content['images'][part]).permute(0, 3, 1, 2).float()
    labels = torch.from_numpy(content['labels'][part]).long()
    lowest, highest = teacher.pixel_bounds
    inputs = lowest + images / 255 * (highest - lowest)
    with torch.no_grad():
        logits = torch.cat([teacher.logits(part) for part in inputs.split(128)])
    chosen = (logits.argmax(dim=1) == labels).nonzero().squeeze(1)[:num_samples]
    return inputs[chosen].contiguous(), labels[chosen], logits[chosen]


def choose_targets(kind: str, logits: Tensor, base: Tensor) -> Tensor:
    """(N,) int64: the second most probable class, or one drawn among the other classes."""
    probabilities = target_probabilities(logits, base)
    if kind == 'second':
        return probabilities.argmax(dim=1)
    if kind == 'uniform':
        probabilities = torch.ones_like(probabilities).scatter(1, base.unsqueeze(1), 0.0)
    generator = torch.Generator().manual_seed(0)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


def run_library(
    attack: LibraryAttack, model: nn.Module, samples: Tensor, base: Tensor, bounds: Any
) -> Tensor:
    """What an attack of foolbox finds, without the passes that check it: (N, C, H, W)."""
    lowest, highest = bounds
    scale = highest - lowest
    classifier = ImageClassifier(lambda images: model(lowest + scale * images))
    found = attack.search(classifier, ((samples - lowest) / scale).clamp(0, 1), base, base)
    return lowest + scale * found


def measure(
    samples: Tensor, logits: Tensor, found: Tensor, base: Tensor, target: Tensor
) -> dict[str, float]:
    """Where the found samples lie, as means and shares."""
    rows = torch.arange(len(base))
    probabilities = logits.float().softmax(dim=1)
    own = probabilities[rows, base]
    accepted = in_target_class(logits, base, target)
    third_class = ~accepted & ~in_base_class(logits, base)
    values = {
        'mean L2': (found - samples).flatten(1).norm(dim=1),
        'gap to target': (own - probabilities[rows, target]).abs(),
        'gap to best other': (own - highest_other_logit(probabilities, base)).abs(),
        'accepted': accepted,
        'third class': third_class,
    }
    return {name: value.float().mean().item() for name, value in values.items()}


def run_all(
    teacher: Teacher,
    fast_teacher: Teacher,
    samples: Tensor,
    base: Tensor,
    target: Tensor,
    library: dict[str, LibraryAttack],
    repeats: int,
) -> dict[str, dict[str, float]]:
    """Run every attack in turn, ``repeats`` times over: the rows of the table."""
    plain, fast = CountingModel(teacher.logits), CountingModel(fast_teacher.logits)
    bounds = teacher.pixel_bounds
    bss = BSS_ATTACKS | {name + FAST: BSS_ATTACKS[name] for name in FAST_ATTACKS}
    times: dict[str, list[float]] = {name: [] for name in (*bss, *library)}
    table: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for name in times:
            model = fast if name.endswith(FAST) else plain
            model.forwards = model.backwards = 0
            torch.manual_seed(0)  # the same partners for all
            start = time.perf_counter()
            if name in bss:
                outcome = bss[name](model, samples, base, target, bounds)
                found, reached = outcome.samples, outcome.target
            else:
                found = run_library(library[name], model, samples, base, bounds)
                reached = target
            times[name].append(time.perf_counter() - start)
            passes = {
                'gradients': model.backwards / len(samples),
                'forward passes': model.forwards / len(samples),
            }
            with torch.no_grad():
                logits = teacher.logits(found)
            table[name] = measure(samples, logits, found, base, reached) | passes
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, row in table.items():
        row['time'] = medians[name] / medians['published step']
        row['seconds'] = medians[name]
    return table


def to_markdown(table: dict[str, dict[str, float]]) -> str:
    """The rows as a Markdown table."""
    lines = [f'| attack | {" | ".join(COLUMNS)} |', '|---' * (len(COLUMNS) + 1) + '|']
    for name, row in table.items():
        cells = [
            f'{row[column]:.1%}'
            if column in ('accepted', 'third class')
            else f'{row[column]:.4f}'
            if column.startswith(('mean', 'gap'))
            else f'{row[column]:.2f}'
            for column in COLUMNS
        ]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--teacher-config', required=True, help='config of the teacher')
    parser.add_argument('--checkpoint', required=True, help='weights of the teacher')
    parser.add_argument('--data', required=True, help='.npz file with images and labels')
    parser.add_argument('--num-samples', type=int, default=128)
    parser.add_argument('--first-image', type=int, default=0, help='where in the data to begin')
    parser.add_argument(
        '--targets',
        choices=['second', 'drawn', 'uniform'],
        default='second',
        help='the second most probable class, or drawn: from the probabilities, or uniformly',
    )
    parser.add_argument(
        '--library-attacks',
        nargs='+',
        choices=[*LIBRARY_ATTACKS, 'none'],
        default=['deepfool'],
        help='untargeted attacks of foolbox; ddn and cw are slow',
    )
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with readable_errors():
        library = {
            row: LibraryAttack(name, options=options, targeted=False)
            for key, (row, name, options) in LIBRARY_ATTACKS.items()
            if key in args.library_attacks
        }
        teacher = build_teacher(args.teacher_config, args.checkpoint)
        fast_teacher = build_teacher(
            args.teacher_config,
            args.checkpoint,
            fuse_bn=True,
            channels_last=True,
            winograd='4x2',
        )
    samples, base, logits = load_correct(teacher, args.data, args.num_samples, args.first_image)
    target = choose_targets(args.targets, logits, base)
    fast_teacher(samples)  # the first call compares it with the plain one
    table = run_all(teacher, fast_teacher, samples, base, target, library, args.repeats)
    print(to_markdown(table))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {key: str(value) for key, value in vars(args).items()}
        args.out.write_text(json.dumps(dict(settings=settings, table=table), indent=2) + '\n')


if __name__ == '__main__':
    main()
