r"""Compare the samples of BSSAttack with those of the published algorithm, transcribed plainly.

    python benchmarks/parity.py --teacher-config configs/baseline/resnet26_cifar10.py \
        --checkpoint work_dirs/resnet26_cifar10/epoch_80.pth --data data/cifar10/test.npz

Both get the same images, base classes, target classes and bounds of +-2.5 in normalised units. The
figure is the largest difference of a pixel, in normalised units. What differs are ReLU kinks: a
rounding error on one side of a kink becomes another gradient, which later steps amplify.
"""

import argparse

import numpy as np
import torch
from boundary_table import build_teacher, choose_targets
from reference_attack import reference_attack

from mmbss.attacks import BSSAttack
from mmbss.errors import readable_errors

BOUNDS = (-2.5, 2.5)
FUSED = dict(fuse_bn=True, channels_last=True)
TEACHERS = {
    'plain': dict(),
    'fused BatchNorm': dict(fuse_bn=True),
    'fused BatchNorm, channels last, Winograd 2': dict(FUSED, winograd=2),
    'fused BatchNorm, channels last, Winograd 4': dict(FUSED, winograd=4),
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
    print('| teacher | target classes | within 1e-4 | largest difference |')
    print('|---|---|---:|---:|')
    for name, settings in TEACHERS.items():
        with readable_errors():
            teacher = build_teacher(args.teacher_config, args.checkpoint, **settings)
            plain = build_teacher(args.teacher_config, args.checkpoint)
        lowest, highest = plain.pixel_bounds
        pixels = np.load(args.data)['images'][: args.num_samples]
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        images = lowest + images / 255 * (highest - lowest)
        with torch.no_grad():
            logits = plain.logits(images)
        base = logits.argmax(dim=1)
        for kind in ('second', 'drawn', 'uniform'):
            target = choose_targets(kind, logits, base)
            ours = BSSAttack()(teacher.logits, images, base, target, BOUNDS).samples
            published = reference_attack(plain.logits, images, base, target)
            difference = (ours - published).abs().flatten(1).amax(dim=1)
            share = (difference <= 1e-4).float().mean()
            print(f'| {name} | {kind} | {share:.2%} | {difference.max():.2g} |', flush=True)


if __name__ == '__main__':
    main()
