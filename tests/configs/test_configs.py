import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmbss
from mmbss.attacks import BSSAttack
from mmbss.distillers.classifiers import load_model_config, plain_classifier
from mmbss.registry import HOOKS, MODELS

CONFIGS = Path(mmbss.__file__).resolve().parents[1] / 'configs'
FILES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.glob('**/*.py')
    if not {'_base_', 'mnist'} & set(path.parts)  # those on MNIST have tests of their own
)
DISTILLING = [file for file in FILES if not file.startswith('baseline/')]


def load(file):
    return Config.fromfile(CONFIGS / file)


def build(config, tmp_path):
    """Build the model of a config as the runner does, with a fresh teacher in place of its own."""
    model = config.model.to_dict()
    model.setdefault('data_preprocessor', config.data_preprocessor.to_dict())
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        if 'teacher' in model:
            teacher = MODELS.build(load_model_config(model['teacher']['config']))
            model['teacher']['checkpoint'] = str(tmp_path / 'teacher.pth')
            torch.save(teacher.state_dict(), model['teacher']['checkpoint'])
        return MODELS.build(copy.deepcopy(model))


def test_there_are_configs():
    assert len(FILES) >= 13
    assert len(DISTILLING) >= 8


@pytest.mark.parametrize('file', FILES)
def test_config_builds_its_model_and_hooks(file, tmp_path):
    config = load(file)
    model = build(config, tmp_path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        hooks = [HOOKS.build(hook) for hook in config.get('custom_hooks', [])]
    assert all(set(hook.schedules) <= set(model.loss_modules) for hook in hooks)
    assert config.custom_imports.imports == ['mmbss']
    for name in ('train_cfg', 'optim_wrapper', 'param_scheduler', 'val_evaluator', 'default_hooks'):
        assert config[name], name


@pytest.mark.parametrize('file', FILES)
def test_checkpoint_keys_are_those_of_the_plain_student(file, tmp_path):
    config = load(file)
    model = build(config, tmp_path)
    plain = config.copy()
    plain.model = plain_classifier(config.model.to_dict())
    assert list(build(plain, tmp_path).state_dict()) == list(model.state_dict())


@pytest.mark.parametrize(
    ('depth', 'parameters'), [(8, 75_290), (14, 172_506), (20, 269_722), (26, 366_938)]
)
def test_networks_for_cifar10_have_the_published_sizes(depth, parameters, tmp_path):
    model = build(load(f'baseline/resnet{depth}_1xb256-80e_cifar10.py'), tmp_path)
    assert sum(weight.numel() for weight in model.parameters()) == parameters


@pytest.mark.parametrize('file', FILES)
def test_the_file_name_tells_the_experiment(file):
    folder, name = Path(file).parts
    config = load(file)
    # a variant of a method follows its name: bss-newton
    pattern = r'(?:([a-z]+)(?:-[^_]+)?_)?([^_]+)_1xb(\d+)-(\d+)e_([^_]+)\.py'
    method, networks, batch, epochs, data = re.fullmatch(pattern, name).groups()
    assert int(batch) == config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size
    assert int(epochs) == config.train_cfg.max_epochs
    assert folder == 'ablation' or folder == (method or 'baseline')
    assert data in ('cifar10', 'digits', 'image-folder')
    teacher, student = ([None, networks], networks.split('-to-'))['-to-' in networks]
    depths = [(config.model.backbone, student)]
    if teacher:
        depths.append((load_model_config(config.model.teacher.config)['backbone'], teacher))
    for backbone, network in depths:
        depth = re.match(r'resnet(\d+)', network)
        assert depth is None or backbone['depth'] == int(depth[1])
    at_boundary = 'bss' in name.split('_')[0].split('-')
    expected = 'mmbss.BSSDistiller' if at_boundary else 'mmbss.Distiller'
    assert config.model.type == (expected if method else 'ImageClassifier')


@pytest.mark.parametrize('file', DISTILLING)
def test_the_teacher_is_the_last_checkpoint_of_its_own_config(file):
    teacher = load(file).model.teacher
    name = Path(teacher.config.split('::')[1])
    epochs = load(name).train_cfg.max_epochs
    assert teacher.checkpoint == f'work_dirs/{name.stem}/epoch_{epochs}.pth'


@pytest.mark.parametrize('depth', [8, 14, 20])
def test_the_published_recipe_is_as_published(depth):
    config = load(f'bss/bss_resnet26-to-resnet{depth}_1xb256-80e_cifar10.py')
    assert config.train_cfg.max_epochs == 80
    assert config.train_dataloader.batch_size == 256
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (
        'SGD',
        0.1,
        0.9,
        1e-4,
    )
    assert config.param_scheduler.milestones == [40, 60]
    assert config.param_scheduler.gamma == 0.1
    preprocessor = config.data_preprocessor
    assert (preprocessor.crop_padding, preprocessor.flip_probability) == (4, 0.5)
    means = [round(mean / 255, 4) for mean in preprocessor.mean]
    assert means == [0.4914, 0.4822, 0.4465]
    assert [round(std / 255, 4) for std in preprocessor.std] == [0.2023, 0.1994, 0.2010]
    boundary = config.model.boundary
    attack = BSSAttack(**{k: v for k, v in boundary.attack.items() if k != 'type'})
    assert (attack.num_steps, attack.step_size, attack.overshoot) == (10, 0.3, 1e-4)
    assert boundary.num_base_samples == 64
    assert config.model.losses.loss_kd.temperature == boundary.loss.temperature == 3.0
    assert config.custom_hooks[0].schedules == dict(
        loss_kd=dict(start=4.0, end=1.0), loss_bss=dict(start=2.0, end=0.0, until=0.75)
    )


def test_the_students_of_one_size_differ_in_the_method_alone():
    for depth in (8, 14, 20):
        plain = load(f'baseline/resnet{depth}_1xb256-80e_cifar10.py')
        for method in ('kd', 'bss'):
            distilled = load(f'{method}/{method}_resnet26-to-resnet{depth}_1xb256-80e_cifar10.py')
            distilled.pop('custom_hooks')
            student = plain_classifier(distilled.pop('model').to_dict())
            expected = plain.to_dict()
            model = expected.pop('model')
            assert dict(student, type=model['type']) == model
            assert distilled.to_dict() == expected


@pytest.mark.parametrize(
    ('file', 'base', 'loss'),
    [
        ('fitnet/fitnet', 'kd/kd', 'loss_hint'),
        ('at/at', 'kd/kd', 'loss_at'),
        ('fsp/fsp', 'kd/kd', 'loss_fsp'),
        ('fsp/fsp-bss', 'bss/bss', 'loss_fsp'),
    ],
)
def test_a_loss_on_features_is_all_that_is_added(file, base, loss):
    config, expected = (
        load(f'{name}_resnet26-to-resnet8_1xb256-80e_cifar10.py').to_dict() for name in (file, base)
    )
    config.pop('stages', None)
    assert config['model']['losses'].pop(loss)['loss_weight'] > 0
    assert config == expected
