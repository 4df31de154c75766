r"""Convert a ResNet of the BSS paper's authors into a checkpoint of mmbss.

    python tools/convert_authors_checkpoint.py Res26_C10.safetensors \
        configs/baseline/resnet26_1xb256-80e_cifar10.py \
        work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth

Reads a state dict with the key names of github.com/bhheo/BSS_distillation (a .safetensors or a
torch file) and writes one that the given config loads. The conversion is strict: no key may be
left over or missing, and every shape must fit.
"""

import argparse
from pathlib import Path
from typing import Any

from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('source', type=Path, help='checkpoint of the authors')
    parser.add_argument('config', help='config of the network in mmbss')
    parser.add_argument('target', type=Path, help='checkpoint to write')
    return parser.parse_args()


def rename(state: dict[str, Any]) -> dict[str, Any]:
    """Give the weights their names in mmbss: ``linear`` is the head, all else the backbone.

    Raises:
        ConfigError: If they have no names.
    """
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ConfigError('the checkpoint holds no weights by name')
    return {
        f'head.fc.{key.removeprefix("linear.")}'
        if key.startswith('linear.')
        else f'backbone.{key}': value
        for key, value in state.items()
    }


def convert(args: argparse.Namespace) -> str:
    """Write the checkpoint; returns a line about it.

    Raises:
        ConfigError: If keys or shapes differ, which it names, or the target is there already.
    """
    import torch

    from mmbss.engine.files.atomic import whole_file
    from mmbss.engine.files.checkpoint_reading import read_checkpoint
    from mmbss.engine.models import count_parameters, load_strictly
    from mmbss.studies.classifiers import build_classifier

    if args.target.exists():
        raise ConfigError(f'{args.target} is there already: remove it, or name another file')
    content = read_checkpoint(args.source)
    state = rename(content.get('net', content))
    model = build_classifier(args.config)
    load_strictly(model, state, f'{args.source} does not fit {args.config}')
    with whole_file(args.target) as part:
        torch.save(dict(state_dict=model.state_dict()), part)
    return f'{args.target}: {len(state)} tensors, {count_parameters(model):,} parameters'


def main() -> None:
    """Read the command line and convert."""
    args = parse_args()
    with readable_errors():
        print(convert(args))


if __name__ == '__main__':
    main()
