"""The experiments of Hinton et al. 2015 and of Papernot et al. 2016 on MNIST."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import mmbss

FOLDER = Path(mmbss.__file__).resolve().parents[1] / 'configs' / 'mnist'
FILES = sorted(path.name for path in FOLDER.glob('*.py'))
KD = 'kd_mlp-1200-to-mlp-800_1xb256-100e_mnist'
DISTILLING = [
    f'{KD}.py',
    f'{KD}-without-3.py',
    f'{KD}-7-and-8.py',
    'defensive_cnn-t100-to-cnn_1xb128-6e_mnist.py',
]


def load(name):
    return Config.fromfile(FOLDER / name)


@pytest.mark.parametrize('name', FILES)
def test_config_builds_a_classifier_of_digits(name, build):
    config = load(name)
    assert config.param_scheduler.T_max == config.train_cfg.max_epochs
    assert build(config)(torch.zeros(2, 1, 28, 28), mode='tensor').shape == (2, 10)


def test_the_networks_are_the_published_ones(build):
    sizes = {
        'mlp-1200-dropout-jitter_1xb256-200e_mnist.py': (784 + 1) * 1200 + 1201 * 1200 + 1201 * 10,
        'mlp-800_1xb256-40e_mnist.py': (784 + 1) * 800 + 801 * 800 + 801 * 10,
        'cnn_1xb128-6e_mnist.py': 320 + 9248 + 18496 + 36928 + 1025 * 200 + 201 * 200 + 201 * 10,
    }
    for name, size in sizes.items():
        model = build(load(name))
        assert sum(weight.numel() for weight in model.parameters()) == size


def test_only_the_teacher_is_regularised_and_sees_shifted_inputs():
    for name in FILES:
        config = load(name)
        is_teacher = name == 'mlp-1200-dropout-jitter_1xb256-200e_mnist.py'
        assert config.data_preprocessor.get('crop_padding', 0) == (2 if is_teacher else 0)
        assert config.data_preprocessor.get('flip_probability', 0) == 0
        if 'mlp' in name:
            assert config.model.backbone.get('dropout', 0) == (0.5 if is_teacher else 0)
            assert 'weight_decay' not in config.optim_wrapper.optimizer
            assert ('max_norm' in config.default_hooks) == is_teacher


def test_every_transfer_set_has_a_cache_of_its_own_beside_the_teacher():
    files = []
    for name in DISTILLING:
        config = load(name)
        hook = config.default_hooks.teacher_cache
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
