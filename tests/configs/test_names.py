"""Names of config files, in the grammar of mmpretrain."""

import re
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

import mmbss
from mmbss.teachers.classifiers import load_model_config

CONFIGS = Path(mmbss.__file__).resolve().parents[1] / 'configs'
FILES = sorted(path for path in CONFIGS.glob('**/*.py') if '_base_' not in path.parts)
#: kd-t4_resnet26-to-resnet8_1xb256-80e_cifar10; a variant of a method or network follows its name
GRAMMAR = re.compile(
    r'((?P<method>[a-z]+)(?P<variant>-[a-z0-9-]+)?_(?P<teacher>[a-z0-9-]+)-to-)?'
    r'(?P<student>[a-z0-9-]+)_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e_(?P<data>[a-z0-9-]+)'
)


DATA = ('cifar10', 'cifar100', 'digits', 'image', 'imagenet32', 'in1k', 'mnist', 'tiny')


@cache
def read(path):
    return Config.fromfile(path)


def parse(path):
    matched = GRAMMAR.fullmatch(path.stem)
    assert matched, f'{path.stem} does not follow the grammar'
    return matched


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_the_name_tells_the_training(path):
    name, config = parse(path), read(path)
    samples = int(name['gpus']) * int(name['batch'])
    assert config.auto_scale_lr.base_batch_size == samples
    assert config.train_dataloader.batch_size == int(name['batch'])
    assert config.train_cfg.max_epochs == int(name['epochs'])
    assert name['data'].split('-')[0] in DATA


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_the_name_tells_the_method(path):
    name, model = parse(path), read(path).model
    assert path.parent.name in (name['method'] or 'baseline', 'mnist')
    assert model.type == ('mmbss.Distiller' if name['method'] else 'ImageClassifier')
    at_boundary = any(
        loss.type == 'mmbss.BoundaryLoss' for loss in model.get('losses', {}).values()
    )
    assert at_boundary == ('bss' in path.stem.split('_')[0].split('-'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_the_name_tells_the_networks(path):
    name, model = parse(path), read(path).model
    networks = [(name['student'], model.backbone)]
    if name['teacher']:
        own = model.teacher.config
        called = Path(own.split(':')[-1]).stem
        assert called.replace('_', '-').startswith(name['teacher'])
        if '::' in own:  # a name of timm or torchvision tells all
            networks.append((name['teacher'], load_model_config(own)['backbone']))
    for network, backbone in networks:
        if depth := re.match(r'resnet(\d+)', network):
            assert backbone['depth'] == int(depth[1])
        if width := re.match(r'mlp-(\d+)', network):
            assert set(backbone['hidden']) == {int(width[1])}


def test_no_two_configs_share_a_name():
    # the work dir of a run is called after its config
    assert len({path.stem for path in FILES}) == len(FILES)


@pytest.mark.parametrize(
    'folder', sorted({path.parent for path in FILES}), ids=lambda path: path.name
)
def test_every_folder_says_how_to_run_its_configs(folder):
    text = (folder / 'README.md').read_text()
    named = re.findall(r'configs/(\S+\.py)', text)
    assert {CONFIGS / file for file in named} & set(FILES)
    linked = re.findall(r'\]\((?!https://)(.+?)\)', text)
    for path in (*(CONFIGS / file for file in named), *(folder / link for link in linked)):
        assert path.exists(), path
