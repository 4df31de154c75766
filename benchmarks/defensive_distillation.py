r"""Attack a network, and the same network after defensive distillation.

    python benchmarks/defensive_distillation.py --data data/mnist/test.npz \
        --network configs/mnist/cnn_1xb128-6e_mnist.py work_dirs/cnn_1xb128-6e_mnist/epoch_6.pth \
        --network configs/mnist/cnn-t100_1xb128-6e_mnist.py \
            work_dirs/cnn-t100_1xb128-6e_mnist/epoch_6.pth \
        --network configs/mnist/defensive_cnn-t100-to-cnn_1xb128-6e_mnist.py \
            work_dirs/defensive_cnn-t100-to-cnn_1xb128-6e_mnist/epoch_6.pth

Every network is attacked at T = 1, white box, on the first test images that all of them classify
correctly. JSMA moves each image to each of the other classes, with at most 14.5 % of the pixels
changed; on the gradients of the softmax, as defensive distillation was published, and on those of
the logits. C&W (L2, of foolbox) moves each image to one class drawn at random, with its loss on
logits. Success is the share of the attacks that reach their class.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from boundary_table import build_teacher
from torch import Tensor

from mmbss.attacks import Attack, JSMAAttack, LibraryAttack
from mmbss.attacks.functional import project
from mmbss.engine.errors import readable_errors
from mmbss.teachers import Teacher


def load_images(data: str) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) float32 pixels in [0, 255] and (N,) int64 labels of an .npz file."""
    content = np.load(data, allow_pickle=False)
    images = torch.from_numpy(content['images']).float()
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images, torch.from_numpy(content['labels']).long()


@torch.no_grad()
def all_logits(network: Teacher, pixels: Tensor) -> Tensor:
    """(N, K) logits of pixels in [0, 255]."""
    return torch.cat([network.logits(normalise(network, part)) for part in pixels.split(500)])


def normalise(network: Teacher, pixels: Tensor) -> Tensor:
    """Pixels in [0, 255] as the network wants them."""
    lowest, highest = network.pixel_bounds
    return lowest + pixels / 255 * (highest - lowest)


def run_jsma(network: Teacher, samples: Tensor, base: Tensor, output: str) -> dict[str, float]:
    """Attack each sample toward every other class.

    Returns:
        Success, and the share of the pixels that a successful attack has changed.
    """
    classes = network.network.head.num_classes
    # pixels that rounding puts beyond a bound are no change
    samples = project(samples, network.pixel_bounds)
    success, changed = [], []
    for offset in range(1, classes):
        result = JSMAAttack(gamma=0.145, output=output)(
            network.logits, samples, base, (base + offset) % classes, network.pixel_bounds
        )
        success.append(result.success)
        share = (result.samples != samples).flatten(1).float().mean(dim=1)
        changed.append(share[result.success])
    return dict(
        success=torch.cat(success).float().mean().item(),
        changed=torch.cat(changed).mean().item() if any(map(len, changed)) else float('nan'),
    )


def run_cw(network: Teacher, samples: Tensor, base: Tensor, attack: Attack) -> dict[str, float]:
    """Attack each sample toward a class drawn among the others.

    Returns:
        Success, and the mean L2 distance of the successful in pixels of [0, 1].
    """
    generator = torch.Generator().manual_seed(0)
    classes = network.network.head.num_classes
    target = (base + torch.randint(1, classes, base.shape, generator=generator)) % classes
    result = attack(network.logits, samples, base, target, network.pixel_bounds)
    lowest, highest = network.pixel_bounds
    moved = (result.samples - samples)[result.success] / (highest - lowest)
    return dict(
        success=result.success.float().mean().item(),
        distance=moved.flatten(1).norm(dim=1).mean().item(),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--network',
        nargs=2,
        action='append',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a network to attack; may be repeated',
    )
    parser.add_argument('--data', required=True, help='.npz file with images and labels')
    parser.add_argument('--num-samples', type=int, default=100)
    parser.add_argument('--cw-steps', type=int, default=200, help='steps of each binary search')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with readable_errors():
        networks = {
            Path(config).stem: build_teacher(config, checkpoint)
            for config, checkpoint in args.network
        }
        cw = LibraryAttack(
            'L2CarliniWagnerAttack',
            options=dict(
                binary_search_steps=6, steps=args.cw_steps, stepsize=0.05, initial_const=0.01
            ),
        )
    pixels, labels = load_images(args.data)
    logits = {name: all_logits(network, pixels) for name, network in networks.items()}
    right = torch.stack([values.argmax(dim=1) == labels for values in logits.values()]).all(dim=0)
    chosen = right.nonzero().squeeze(1)[: args.num_samples]
    table = {}
    print(f'{len(chosen)} images')
    print('| network | test errors | saturated | JSMA, softmax | JSMA, logits | C&W L2 | mean L2 |')
    print('|---|---:|---:|---:|---:|---:|---:|')
    for name, network in networks.items():
        samples, base = normalise(network, pixels[chosen]), labels[chosen]
        softmax = run_jsma(network, samples, base, 'softmax')
        on_logits = run_jsma(network, samples, base, 'logits')
        by_cw = run_cw(network, samples, base, cw)
        errors = int((logits[name].argmax(dim=1) != labels).sum())
        # where one probability is 1 in float32, the gradients of all are 0
        saturated = (logits[name][chosen].softmax(dim=1).amax(dim=1) == 1).float().mean().item()
        table[name] = dict(
            errors=errors,
            saturated=saturated,
            jsma_softmax=softmax,
            jsma_logits=on_logits,
            cw=by_cw,
        )
        print(
            f'| {name} | {errors} | {saturated:.1%} | {softmax["success"]:.2%} | '
            f'{on_logits["success"]:.2%} | {by_cw["success"]:.2%} | {by_cw["distance"]:.3f} |',
            flush=True,
        )
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {key: str(value) for key, value in vars(args).items()}
        args.out.write_text(json.dumps(dict(settings=settings, table=table), indent=2) + '\n')


if __name__ == '__main__':
    main()
