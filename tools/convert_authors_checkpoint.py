r"""Convert a ResNet of the BSS paper's authors into a checkpoint of mmbss.

    python tools/convert_authors_checkpoint.py Res26_C10.safetensors \
        configs/baseline/resnet26_1xb256-80e_cifar10.py \
        work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth

Reads a state dict with the key names of github.com/bhheo/BSS_distillation (a .safetensors or a
torch file) and writes one that the given config loads. The conversion is strict: no key may be
left over or missing, and every shape must fit.
"""

import argparse
import copy
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmbss.distillers.classifiers import load_model_config
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.files import read_checkpoint
from mmbss.registry import MODELS


def read_state(path: Path) -> dict[str, Tensor]:
    """State dict of a file that holds it alone or as ``net``."""
    content = read_checkpoint(path)
    return content.get('net', content)


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights their names in mmbss: ``linear`` is the head, all else the backbone."""
    return {
        f'head.fc.{key.removeprefix("linear.")}'
        if key.startswith('linear.')
        else f'backbone.{key}': value
        for key, value in state.items()
    }


def fill(model: nn.Module, state: dict[str, Tensor], args: argparse.Namespace) -> None:
    """Load the weights strictly.

    Raises:
        ConfigError: If keys or shapes differ; names them.
    """
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ConfigError(f'{args.source} does not fit {args.config}: {error}') from error


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', type=Path, help='checkpoint of the authors')
    parser.add_argument('config', help='config of the network in mmbss')
    parser.add_argument('target', type=Path, help='checkpoint to write')
    args = parser.parse_args()
    with readable_errors():
        state = rename(read_state(args.source))
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(copy.deepcopy(load_model_config(args.config)))
        fill(model, state, args)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=model.state_dict()), args.target)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f'{args.target}: {len(state)} tensors, {parameters:,} parameters')


if __name__ == '__main__':
    main()
