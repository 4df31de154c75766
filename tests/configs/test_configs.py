import copy
from functools import cache
from pathlib import Path

import pytest
import timm
import torchvision
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmbss
from mmbss.attacks import BSSAttack, ClosestAttack, NewtonAttack
from mmbss.registry import HOOKS
from mmbss.teachers.classifiers import plain_classifier

CONFIGS = Path(mmbss.__file__).resolve().parents[1] / 'configs'
FILES = sorted(
    str(path.relative_to(CONFIGS)) for path in CONFIGS.glob('**/*.py') if '_base_' not in path.parts
)
DISTILLING = [file for file in FILES if '-to-' in file]


@cache
def read(file):
    return Config.fromfile(CONFIGS / file)


def load(file):
    return copy.deepcopy(read(file))


def test_there_are_configs():
    assert len(FILES) >= 40
    assert len(DISTILLING) >= 28


@pytest.mark.parametrize('file', FILES)
def test_config_builds_its_model_with_the_keys_of_the_plain_student_and_hooks(file, build):
    config = load(file)
    model = build(config)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        hooks = {
            name: HOOKS.build(hook)
            for name, hook in config.default_hooks.items()
            if hook.type.startswith('mmbss.')
        }
    if 'bss' in hooks:
        assert set(hooks['bss'].schedules) <= set(model.loss_modules)
    assert 'custom_hooks' not in config  # they are the user's
    assert config.custom_imports.imports == ['mmbss']
    for name in ('train_cfg', 'optim_wrapper', 'param_scheduler', 'val_evaluator', 'default_hooks'):
        assert config[name], name
    if file in DISTILLING:
        config.model = plain_classifier(config.model.to_dict())
        assert list(build(config).state_dict()) == list(model.state_dict())


@pytest.mark.parametrize('file', DISTILLING)
def test_the_teacher_is_the_last_checkpoint_of_its_own_config(file):
    teacher = load(file).model.teacher
    if '::' not in teacher.config:  # a library that brings the weights
        scheme, name = teacher.config.split(':')
        assert teacher.get('checkpoint') is None
        assert (
            name
            in dict(timm=timm.list_pretrained, torchvision=torchvision.models.list_models)[scheme]()
        )
        return
    name = Path(teacher.config.split('::')[1])
    epochs = load(name).train_cfg.max_epochs
    assert teacher.checkpoint == f'work_dirs/{name.stem}/epoch_{epochs}.pth'


@pytest.mark.parametrize(
    ('depth', 'parameters'), [(8, 75_290), (14, 172_506), (20, 269_722), (26, 366_938)]
)
def test_networks_for_cifar10_have_the_published_sizes(depth, parameters, build):
    model = build(load(f'baseline/resnet{depth}_1xb256-80e_cifar10.py'))
    assert sum(weight.numel() for weight in model.parameters()) == parameters


@pytest.mark.parametrize('depth', [8, 14, 20])
def test_the_published_recipe_is_as_published(depth, build):
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
    terms = build(config).terms
    attack = terms['loss_bss'].attack
    assert type(attack) is BSSAttack
    assert (attack.num_steps, attack.step_size, attack.overshoot) == (10, 0.3, 1e-4)
    expected = dict(
        base_class='label',
        candidates='both_correct',
        base_samples='disagreement',
        num_base_samples=64,
        target_class=None,  # by probability
        teacher_says='logits',
        train_on='all',
    )
    assert terms['loss_bss'].search == expected
    assert terms['loss_bss'].student_input == terms['loss_bss'].teacher_answer == 'boundary'
    assert terms['loss_bss'].bounds == (-2.5, 2.5)
    assert terms['loss_kd'].temperature == terms['loss_bss'].loss.temperature == 3.0
    assert config.default_hooks.bss.schedules == dict(
        loss_kd=dict(start=4.0, end=1.0), loss_bss=dict(start=2.0, end=0.0, until=0.75)
    )


@pytest.mark.parametrize(
    ('attack', 'expected', 'step_size', 'overshoot'),
    [('newton', NewtonAttack, 0.85, 0.05), ('closest', ClosestAttack, 1.3, 0.015)],
)
def test_other_steps_differ_from_the_published_recipe_in_the_attack_alone(
    attack, expected, step_size, overshoot, build
):
    for method in ('bss/bss', 'dkd/dkd-bss'):
        config = load(f'{method}-{attack}_resnet26-to-resnet8_1xb256-80e_cifar10.py')
        built = build(config).terms['loss_bss'].attack
        assert type(built) is expected
        assert (built.num_steps, built.step_size, built.overshoot) == (10, step_size, overshoot)
        published = load(f'{method}_resnet26-to-resnet8_1xb256-80e_cifar10.py').to_dict()
        published['model']['losses']['loss_bss']['attack']['type'] = f'mmbss.{expected.__name__}'
        assert config.to_dict() == published


def test_dkd_beside_the_boundary_between_images_is_what_the_study_trains(root):
    config = load('dkd/dkd-bss-segment_resnet26-to-resnet8_1xb256-80e_cifar10.py')
    options = (
        Config.fromfile(root / 'studies' / 'few_images.py').arms['resnet8-500-segment'].options
    )
    assert config.model.losses.loss_bss == options['model.losses.loss_bss']
    assert config.optim_wrapper.clip_grad.max_norm == options['optim_wrapper.clip_grad.max_norm']
    plain = load('dkd/dkd_resnet26-to-resnet8_1xb256-80e_cifar10.py')
    assert config.model.losses.loss_dkd == plain.model.losses.loss_dkd


@pytest.mark.parametrize(
    ('networks', 'training'),
    [
        *((f'resnet26-to-resnet{depth}', '1xb256-80e_cifar10') for depth in (8, 14, 20)),
        ('resnet14-to-resnet8-w2', '1xb64-30e_digits'),
        ('resnet50-to-mobilenetv2', '1xb32-20e_image-folder'),
    ],
)
def test_the_students_of_one_size_differ_in_the_method_alone(networks, training):
    plain = load(f'baseline/{networks.split("-to-")[1]}_{training}.py')
    for method in ('kd', 'bss'):
        distilled = load(f'{method}/{method}_{networks}_{training}.py')
        distilled.pop('published_weights')
        distilled.default_hooks.pop('bss')
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
