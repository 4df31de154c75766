"""The experiments of Hinton et al. 2015 and of Papernot et al. 2016 on MNIST."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmbss
from mmbss.distillers.classifiers import load_model_config, plain_classifier
from mmbss.registry import HOOKS, MODELS

FOLDER = Path(mmbss.__file__).resolve().parents[1] / 'configs' / 'mnist'
FILES = sorted(path.name for path in FOLDER.glob('*.py'))
KD = 'kd_mlp-1200-to-mlp-800_1xb256-40e_mnist'
DISTILLING = [
    f'{KD}.py',
    f'{KD}-without-3.py',
    f'{KD}-7-and-8.py',
    'defensive_cnn-t100-to-cnn_1xb128-6e_mnist.py',
]


def load(name):
    return Config.fromfile(FOLDER / name)


def build(config, tmp_path):
    """Build the model as the runner does, with a fresh teacher in place of its own."""
    model = dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict())
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        if 'teacher' in model:
            teacher = MODELS.build(load_model_config(model['teacher']['config']))
            model['teacher']['checkpoint'] = str(tmp_path / 'teacher.pth')
            torch.save(teacher.state_dict(), model['teacher']['checkpoint'])
        return MODELS.build(copy.deepcopy(model))


@pytest.mark.parametrize('name', FILES)
def test_config_builds_its_model_and_hooks(name, tmp_path):
    config = load(name)
    model = build(config, tmp_path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        [HOOKS.build(hook) for hook in config.get('custom_hooks', [])]
        plain = MODELS.build(plain_classifier(config.model.to_dict()))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert config.param_scheduler.T_max == config.train_cfg.max_epochs
    assert model(torch.zeros(2, 1, 28, 28), mode='tensor').shape == (2, 10)


def test_the_networks_are_the_published_ones(tmp_path):
    sizes = {
        'mlp-1200-dropout-jitter_1xb256-60e_mnist.py': (784 + 1) * 1200 + 1201 * 1200 + 1201 * 10,
        'mlp-800_1xb256-40e_mnist.py': (784 + 1) * 800 + 801 * 800 + 801 * 10,
        'cnn_1xb128-6e_mnist.py': 320 + 9248 + 18496 + 36928 + 1025 * 200 + 201 * 200 + 201 * 10,
    }
    for name, size in sizes.items():
        model = build(load(name), tmp_path)
        assert sum(weight.numel() for weight in model.parameters()) == size


def test_only_the_teacher_is_regularised_and_sees_shifted_inputs():
    for name in FILES:
        config = load(name)
        is_teacher = name == 'mlp-1200-dropout-jitter_1xb256-60e_mnist.py'
        assert config.data_preprocessor.get('crop_padding', 0) == (2 if is_teacher else 0)
        assert config.data_preprocessor.get('flip_probability', 0) == 0
        if 'mlp' in name:
            assert config.model.backbone.get('dropout', 0) == (0.5 if is_teacher else 0)
            assert 'weight_decay' not in config.optim_wrapper.optimizer
            hooks = [hook.type for hook in config.get('custom_hooks', [])]
            assert ('mmbss.MaxNormHook' in hooks) == is_teacher


@pytest.mark.parametrize('name', DISTILLING)
def test_the_teacher_is_the_last_checkpoint_of_its_own_config(name):
    teacher = load(name).model.teacher
    own = Path(teacher.config.split('::')[1])
    epochs = load(own.name).train_cfg.max_epochs
    assert teacher.checkpoint == f'work_dirs/{own.stem}/epoch_{epochs}.pth'


def test_every_transfer_set_has_a_cache_of_its_own_beside_the_teacher():
    files = []
    for name in DISTILLING:
        config = load(name)
        (hook,) = config.custom_hooks
        assert hook.type == 'mmbss.TeacherCacheHook'
        assert Path(hook.file).parent == Path(config.model.teacher.checkpoint).parent
        files.append(hook.file)
    assert len(set(files)) == len(DISTILLING)


@pytest.mark.parametrize(
    ('name', 'keep', 'drop'), [('without-3', None, [3]), ('7-and-8', [7, 8], None)]
)
def test_the_held_out_images_are_no_part_of_the_transfer_set(name, keep, drop):
    config = load(f'{KD}-{name}.py')
    subset, held_out = config.train_dataloader.dataset, config.held_out_dataloader.dataset
    assert (subset.keep if keep else subset.get('keep')) == keep
    assert subset.drop == drop
    assert subset.dataset.data_file == held_out.data_file
    # the first and the last of the 60,000 training images
    assert subset.dataset.indices - held_out.indices == 60000
    assert config.model == load(f'{KD}.py').model


def test_the_two_halves_of_defensive_distillation_have_one_temperature():
    undefended, first, second = (
        load(f'{name}_1xb128-6e_mnist.py')
        for name in ('cnn', 'cnn-t100', 'defensive_cnn-t100-to-cnn')
    )
    assert first.model.head.loss.temperature == second.model.losses.loss_kd.temperature == 100
    assert second.model.head.loss.loss_weight == 0
    assert first.model.backbone == second.model.backbone == undefended.model.backbone
