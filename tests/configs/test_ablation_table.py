"""The arms of studies/README.md: their options fit the config they are to change."""

import argparse
import re
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

import mmbss
from mmbss.boundary import BoundaryLoss

ROOT = Path(mmbss.__file__).resolve().parents[1]
PARTS = re.split(r'^## `(.+)`$', (ROOT / 'studies' / 'README.md').read_text(), flags=re.MULTILINE)
#: (name, config, options) of each arm
ARMS = [
    (name, config, options.replace('$L', 'model.losses.loss_bss').split())
    for config, table in zip(PARTS[1::2], PARTS[2::2], strict=True)
    for name, options in re.findall(r'^\| ([\w-]+) \| [^|]+ \| `(.+)` \|$', table, re.MULTILINE)
]


def read_options(options):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def test_every_line_of_the_tables_is_read_and_names_are_unique():
    lines = [line for line in ''.join(PARTS[2::2]).splitlines() if line.startswith('|')]
    heads = 2 * len(PARTS[1::2])
    assert len(ARMS) == len(lines) - heads > 0
    assert len({name for name, _, _ in ARMS}) == len(ARMS)


def value_at(config, path):
    for key in path.split('.'):
        config = (config or {}).get(key)
    return config


@pytest.mark.parametrize(
    ('config', 'options'), [arm[1:] for arm in ARMS], ids=[arm[0] for arm in ARMS]
)
def test_an_arm_changes_its_config_and_can_be_built(config, options, build):
    before, arm = Config.fromfile(ROOT / config), Config.fromfile(ROOT / config)
    options = read_options(options)
    arm.merge_from_dict(options)
    for path in options:
        assert value_at(arm, path) != value_at(before, path), f'{path} is so already'
    assert isinstance(build(arm).terms['loss_bss'], BoundaryLoss)


def test_what_is_compared_with_joint_batches_differs_in_batch_norm_alone():
    options = {name: read_options(options) for name, _, options in ARMS}
    for prefix in ('', 'closest-'):
        own, joint = options[f'{prefix}teacher-base'], options[f'{prefix}joint-bn']
        assert own.pop('model.losses.loss_bss.batch_norm') == 'own'
        assert joint.pop('model.losses.loss_bss.batch_norm') == 'joint'
        assert own == joint
