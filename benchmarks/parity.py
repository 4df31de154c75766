r"""Compare the samples of BSSAttack with those of the published algorithm, transcribed plainly.

    python benchmarks/parity.py --teacher-config configs/baseline/resnet26_1xb256-80e_cifar10.py \
        --checkpoint work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth --data data/cifar10/test.npz

Both get the same images, base classes, target classes and bounds of +-2.5 in normalised units. The
figures are the share of images whose every pixel is within 1e-4, and the largest difference of a
pixel, in normalised units. What differs are ReLU kinks: a rounding error on one side of a kink
becomes another gradient, which later steps amplify. So the transcription is also run in float64,
where hardly anything is rounded: the first rows tell how far it is from that in float32 itself.
"""

import argparse

import numpy as np
import torch
from boundary_table import build_teacher, choose_targets
from reference_attack import reference_attack
from torch import Tensor

from mmbss.attacks import BSSAttack
from mmbss.engine.errors import readable_errors

BOUNDS = (-2.5, 2.5)
KINDS = ('second', 'drawn', 'uniform')
FUSED = dict(fuse_bn=True, channels_last=True)
TEACHERS = {
    'plain': dict(),
    'fused BatchNorm': dict(fuse_bn=True),
    'fused BatchNorm, Winograd 2x2': dict(FUSED, winograd='2x2'),
    'fused BatchNorm, Winograd 4x2': dict(FUSED, winograd='4x2'),
    'fused BatchNorm, Winograd 4x4': dict(FUSED, winograd='4x4'),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--teacher-config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--data', required=True, help='.npz with images and labels')
    parser.add_argument('--num-samples', type=int, default=512)
    args = parser.parse_args()
    with readable_errors():
        plain = build_teacher(args.teacher_config, args.checkpoint)
        exact = build_teacher(args.teacher_config, args.checkpoint).double()
    lowest, highest = plain.pixel_bounds
    pixels = np.load(args.data)['images'][: args.num_samples]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    images = lowest + images / 255 * (highest - lowest)
    with torch.no_grad():
        logits = plain.logits(images)
    base = logits.argmax(dim=1)
    targets = {kind: choose_targets(kind, logits, base) for kind in KINDS}
    published = {
        kind: reference_attack(plain.logits, images, base, target)
        for kind, target in targets.items()
    }
    exactly = {
        kind: reference_attack(exact.logits, images.double(), base, target).float()
        for kind, target in targets.items()
    }
    print('| samples | target classes | as in float32 | | as in float64 | |')
    print('|---|---|---:|---:|---:|---:|')
    for kind in KINDS:
        print(row('the transcription', kind, published[kind], published, exactly), flush=True)
    for name, acceleration in TEACHERS.items():
        with readable_errors():
            teacher = build_teacher(args.teacher_config, args.checkpoint, **acceleration)
        for kind, target in targets.items():
            ours = BSSAttack()(teacher.logits, images, base, target, BOUNDS).samples
            print(row(name, kind, ours, published, exactly), flush=True)


def row(name: str, kind: str, samples: Tensor, *references: dict[str, Tensor]) -> str:
    """A row of the table: share within 1e-4 and largest difference to each of the references."""
    cells = [name, kind]
    for reference in references:
        difference = (samples - reference[kind]).abs().flatten(1).amax(dim=1)
        cells += [f'{(difference <= 1e-4).float().mean():.2%}', f'{difference.max():.2g}']
    return '| ' + ' | '.join(cells) + ' |'


if __name__ == '__main__':
    main()
