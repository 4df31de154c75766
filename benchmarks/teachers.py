"""Teachers of every library, at their own library's answers and in a training.

    python benchmarks/teachers.py --work-dir work_dirs/teachers [--rows timm onnx ...]

For each row a small network of that library is trained briefly on CIFAR-10 and saved as the library
saves it. Then it is printed

- how far the teacher's logits are from those of the library's own preprocessing and network, as a
  share of the largest logit, on real images that have the size which the library cuts out (1), and
  on images of 32 x 32 that either resizes (2): PIL rounds to 8 bits afterwards, a teacher does not;
- the accuracy of a student after a KD run of ``tools/train.py``.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import mmbss  # noqa: F401
from mmbss.engine.files.arrays import read_arrays
from mmbss.teachers.teacher import Teacher

CONFIG = Path('configs/kd/kd-t4_resnet26-to-resnet8_1xb256-80e_cifar10.py').resolve()
#: Of the student of that config.
MEAN, STD = [125.307, 122.961, 113.8575], [51.5865, 50.847, 51.255]
CLASSES = 10


@dataclass
class Row:
    """A teacher, and its library's own way to the same logits.

    Attributes:
        teacher: Arguments of :class:`Teacher`.
        own: The library's preprocessing and network, from PIL images to (N, K) logits.
        size: Height and width of what the network gets.
        before: Of what the library cuts that out.
        in_training: Further arguments of the teacher in the KD run.
    """

    teacher: dict[str, Any]
    own: Callable[[list[Image.Image]], Tensor]
    size: int
    before: int
    in_training: dict[str, Any]


def trained(
    network: nn.Module,
    mean: float,
    std: float,
    ask: Callable[[nn.Module, Tensor], Tensor] = lambda network, images: network(images),
) -> Any:
    """A network after some steps on images of 32 x 32; (pixel - mean) / std is what it gets."""
    data = read_arrays('data/cifar10/train.npz')
    images, labels = (torch.from_numpy(data[key]) for key in ('images', 'labels'))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    network.train()
    for step in range(ARGS.steps):
        rows = torch.arange(64) + 64 * step
        inputs = (images[rows].permute(0, 3, 1, 2).float() - mean) / std
        loss = nn.functional.cross_entropy(ask(network, inputs), labels[rows].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def of_timm(folder: Path) -> Row:
    """``test_resnet``, whose file is a plain state dict."""
    import timm

    network = trained(timm.create_model('test_resnet', num_classes=CLASSES), 127.5, 127.5)
    torch.save(network.state_dict(), folder / 'test_resnet.pth')
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    return Row(
        dict(
            config='timm:test_resnet',
            checkpoint=str(folder / 'test_resnet.pth'),
            arguments=dict(num_classes=CLASSES),
        ),
        lambda images: network(torch.stack([transform(image) for image in images])),
        size=160,
        before=168,
        in_training=dict(input_size=32),
    )


def of_torchvision(folder: Path) -> Row:
    """``shufflenet_v2_x0_5``, whose file is a plain state dict."""
    import torchvision.models

    name = 'shufflenet_v2_x0_5'
    network = trained(torchvision.models.get_model(name, num_classes=CLASSES), 114.5, 57.6)
    torch.save(network.state_dict(), folder / f'{name}.pth')
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return Row(
        dict(
            config=f'torchvision:{name}',
            checkpoint=str(folder / f'{name}.pth'),
            arguments=dict(num_classes=CLASSES),
        ),
        lambda images: network(torch.stack([transform(image) for image in images])),
        size=224,
        before=256,
        in_training=dict(input_size=32),
    )


def of_huggingface(folder: Path, network: Any, processor: Any, size: int, before: int) -> Row:
    """A folder that ``save_pretrained`` writes."""

    def ask(network: Any, images: Tensor) -> Tensor:
        return network(pixel_values=images).logits

    trained(network, 127.5, 127.5, ask)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Row(
        dict(config=f'hf:{folder}'),
        lambda images: ask(network, processor(images=images, return_tensors='pt')['pixel_values']),
        size=size,
        before=before,
        in_training=dict(),
    )


def of_huggingface_resnet(folder: Path) -> Row:
    """A small ``ResNetForImageClassification``, whose processor cuts out the middle."""
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64],
        depths=[1, 1, 1],
        layer_type='basic',
        num_labels=CLASSES,
    )
    processor = ConvNextImageProcessor(size=dict(shortest_edge=56), crop_pct=0.875)
    return of_huggingface(folder, ResNetForImageClassification(config), processor, 56, 64)


def of_huggingface_vit(folder: Path) -> Row:
    """A small ``ViTForImageClassification``."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=32,
        patch_size=4,
        num_labels=CLASSES,
    )
    processor = ViTImageProcessor(size=dict(height=32, width=32))
    return of_huggingface(folder, ViTForImageClassification(config), processor, 32, 32)


def of_onnx(folder: Path) -> Row:
    """What ``torch.onnx.export`` writes of timm's ``test_resnet``; its own way is onnxruntime's."""
    import onnxruntime
    import timm

    network = trained(timm.create_model('test_resnet', num_classes=CLASSES), 127.5, 127.5)
    path = str(folder / 'teacher.onnx')
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 32, 32),),
        path,
        input_names=['images'],
        dynamic_shapes={'x': {0: torch.export.Dim('batch')}},
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])

    def own(images: list[Image.Image]) -> Tensor:
        pixels = np.stack([np.asarray(image.resize((32, 32))) for image in images])
        values = ((pixels.transpose(0, 3, 1, 2) - 127.5) / 127.5).astype(np.float32)
        return torch.from_numpy(session.run(None, {'images': values})[0])

    keys = dict(config=f'onnx:{path}', mean=[127.5] * 3, std=[127.5] * 3)
    return Row(keys, own, size=32, before=32, in_training={})


ROWS = dict(
    timm=of_timm,
    torchvision=of_torchvision,
    hf_resnet=of_huggingface_resnet,
    hf_vit=of_huggingface_vit,
    onnx=of_onnx,
)


@torch.no_grad()
def differences(row: Row) -> tuple[float, float, float]:
    """Largest differences (1) and (2), and the share of equal decisions of (2)."""
    from mmpretrain.models.utils import ClsDataPreprocessor

    pixels = read_arrays('data/cifar10/test.npz')['images'][: ARGS.images]
    small = [Image.fromarray(image) for image in pixels]
    large = [image.resize((row.before, row.before), Image.Resampling.BICUBIC) for image in small]
    start = round((row.before - row.size) / 2)
    cut = slice(start, start + row.size)
    at_size = np.stack([np.asarray(image)[cut, cut] for image in large])
    preprocessor = ClsDataPreprocessor(mean=MEAN, std=STD)
    teacher = Teacher(student_preprocessor=preprocessor, reverse_channels=False, **row.teacher)

    def ask(pixels: np.ndarray) -> Tensor:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (MEAN, STD))
        return teacher.logits(teacher.from_student((images - mean) / std))

    # a teacher cuts nothing off, so the library gets a frame around the image that it cuts off
    framed = [Image.new('RGB', (row.before, row.before)) for _ in small]
    resampling = Image.Resampling[teacher.interpolation.upper()]
    for frame, image in zip(framed, small, strict=True):
        frame.paste(image.resize((row.size, row.size), resampling), (start, start))
    resized, own = ask(pixels), row.own(framed)
    return (
        relative(ask(at_size), row.own(large)),
        relative(resized, own),
        float((resized.argmax(1) == own.argmax(1)).float().mean()),
    )


def relative(logits: Tensor, own: Tensor) -> float:
    """Largest difference, as a share of the largest logit."""
    return float((logits - own).abs().max() / own.abs().max())


def distilled(row: Row, folder: Path) -> str:
    """Accuracy of a student after a KD run, as ``tools/train.py`` logs it."""
    teacher = dict(_delete_=True, reverse_channels=False, **row.teacher, **row.in_training)
    small = dict(type='mmbss.StratifiedSubset', fraction=0.1)
    test = dict(type='mmbss.ArrayDataset', data_file='data/cifar10/test.npz', test_mode=True)
    fraction = ARGS.iterations * 64 / 50000
    (folder / 'kd.py').write_text(
        f'_base_ = {str(CONFIG)!r}\n'
        f'model = dict(teacher={teacher!r})\n'
        f'train_dataloader = dict(batch_size=64, dataset=dict(fraction={fraction}))\n'
        f'val_dataloader = dict(dataset=dict(_delete_=True, dataset={test!r}, **{small!r}))\n'
        'train_cfg = dict(max_epochs=1)\n'
        'optim_wrapper = dict(optimizer=dict(lr=0.025))\n'
        'randomness = dict(seed=0)\n'
    )
    command = ['tools/train.py', str(folder / 'kd.py'), '--work-dir', str(folder / 'run')]
    run = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    lines = [line for line in run.stdout.splitlines() if 'accuracy/top1:' in line]
    return lines[-1].partition('accuracy/top1:')[2].split()[0]


def main() -> None:
    """Print a row for each kind of teacher."""
    print('| teacher | (1) | (2) | equal decisions of (2) | student, top-1 of 1,000 images |')
    print('|---|---:|---:|---:|---:|')
    for name in ARGS.rows:
        folder = Path(ARGS.work_dir, name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        row = ROWS[name](folder)
        at_size, resized, equal = differences(row)
        accuracy = distilled(row, folder) if ARGS.iterations else ''
        print(f'| {name} | {at_size:.1e} | {resized:.1e} | {equal:.1%} | {accuracy} |', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', default='work_dirs/teachers')
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=list(ROWS))
    parser.add_argument('--steps', type=int, default=150, help='of a teacher, 64 images each')
    parser.add_argument('--images', type=int, default=64, help='on which logits are compared')
    parser.add_argument('--iterations', type=int, default=300, help='of the KD run; 0 for none')
    ARGS = parser.parse_args()
    main()
