import re

import numpy as np
import pytest
import torch
from mmengine.model import BaseModule

from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.pixels import doubts_of_units
from mmbss.engine.trial.training import try_training
from mmbss.registry import MODELS


@pytest.fixture
def runner(make_runner, make_teacher, resnet_config, boundary_config, tmp_path):
    """A runner of a student with a teacher, on given images, or else on the digits."""

    def network(changes):
        changes = dict(changes or {})
        replaced = {key: changes.pop(key) for key in ('backbone',) if key in changes}
        return resnet_config(**changes) | replaced

    def make(images=None, mean=(77.9,), std=(95.9,), student=None, teacher=None, **changes):
        normalisation = dict(mean=[*mean], std=[*std], type='mmbss.AugmentingDataPreprocessor')
        model = network(student) | dict(
            type='mmbss.Distiller',
            teacher=make_teacher(network(teacher)),
            losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
        )
        if changes:
            model['losses']['loss_bss'] = boundary_config(**changes)
        runner = make_runner(model, epochs=1, data_preprocessor=normalisation)
        if images is not None:
            file = tmp_path / 'images.npz'
            np.savez(file, images=images, labels=np.arange(len(images)) % 10)
            runner._train_dataloader['dataset'] = dict(
                type='mmbss.ArrayDataset', data_file=str(file)
            )
        return runner

    return make


def noise(scale, dtype=np.float32, lowest=0, shape=(64, 8, 8)):
    spread = np.random.default_rng(0).uniform(lowest, 1, shape) * scale
    return spread.astype(dtype)


# ---------------------------------------------------------------- bounds


IN_UNIT = dict(mean=[0.5], std=[0.25])


@pytest.mark.parametrize(
    ('images', 'normalisation', 'message'),
    [
        (noise(1), IN_UNIT, r'pixels from \S+ to (1|0\.9)\S*, so that pixels 0 to 255 hold'),
        (noise(1), dict(mean=[0.0], std=[1.0]), 'so that pixels 0 to 255 hold'),
        (noise(1.4, np.uint8), IN_UNIT, 'so that pixels 0 to 255 hold'),
        (noise(65535, np.int32), {}, r'to 6\.\d+e\+04, beyond pixels 0 to 255'),
        (noise(255, lowest=-1), {}, r'pixels from -\d+.*, beyond'),
        (noise(2, lowest=-1), dict(mean=[0.0], std=[1.0]), 'beyond pixels'),  # normalised already
    ],
    ids=['unit', 'unit-raw', 'binary', '16-bit', 'signed', 'normalised'],
)
def test_images_of_another_unit_have_no_boundary_samples(runner, images, normalisation, message):
    with pytest.raises(ConfigError, match=rf'^model\.losses\.loss_bss: images have .*{message}'):
        try_training(runner(images, **normalisation, loss_weight=1.0))
    try_training(runner(images, **normalisation))  # where nobody looks at the bounds


@pytest.mark.parametrize(
    ('images', 'normalisation', 'bounds', 'message'),
    [
        (noise(1), IN_UNIT, (-2.0, 2.0), None),
        (noise(65535, np.int32), dict(mean=[32768], std=[16384]), (-2.0, 2.0), None),
        (noise(255, np.uint8), {}, (-1.0, 1.0), r'images lie at .*, beyond bounds=\(-1'),
        (noise(1), IN_UNIT, (-2.0, 1020.0), 'hold next to nothing back'),
    ],
    ids=['unit', '16-bit', 'narrow', 'wide'],
)
def test_bounds_of_ones_own_are_compared_with_the_images(
    runner, images, normalisation, bounds, message
):
    started = runner(images, **normalisation, bounds=bounds)
    if message is None:
        try_training(started)
        return
    with pytest.raises(ConfigError, match=message):
        try_training(started)


def test_black_images_are_no_other_unit(runner):
    try_training(runner(np.zeros((64, 8, 8), np.uint8), loss_weight=1.0))


def test_bounds_are_those_of_each_channel(runner):
    three = dict(in_channels=3)
    images = noise(255, np.uint8, shape=(64, 8, 8, 3))
    normalisation = dict(mean=[100.0, 110.0, 120.0], std=[50.0, 60.0, 70.0])
    try_training(runner(images, **normalisation, student=three, teacher=three, loss_weight=1.0))


# ---------------------------------------------------------------- units


def normalised(scale, times=1):
    images = torch.from_numpy(noise(scale, shape=(2, 3, 8, 8)))
    for _ in range(times):
        images = (images - 116.0) / 57.0
    return [images]


BLACK, NORMALISES = [torch.zeros(2, 3, 8, 8)], torch.nn.BatchNorm2d(3)
NORMALISES.mean, NORMALISES.std = torch.full((3, 1, 1), 116.0), torch.full((3, 1, 1), 57.0)


@pytest.mark.parametrize(
    ('train', 'val', 'preprocessor', 'said'),
    [
        (normalised(255), normalised(255), NORMALISES, None),
        (normalised(255), normalised(1), NORMALISES, 'val_dataloader'),
        (normalised(1), normalised(255), NORMALISES, 'val_dataloader'),
        (normalised(255), normalised(255, times=2), NORMALISES, 'val_dataloader'),
        (normalised(255, times=2), normalised(255, times=2), NORMALISES, 'data_preprocessor'),
        (normalised(1), normalised(1), NORMALISES, 'data_preprocessor'),
        (normalised(255, times=0), normalised(255, times=0), None, None),
        (normalised(1, times=0), normalised(1, times=0), None, 'from 0.* to (1|0.9).*, so that'),
        (normalised(255), normalised(255), None, 'from -2.0.* to 2.*, beyond pixels'),
        (normalised(65535), normalised(65535), NORMALISES, 'beyond pixels'),
        (normalised(270), normalised(270), NORMALISES, None),  # noise that is added in floats
        (normalised(255, times=0), normalised(1, times=0), None, 'val_dataloader'),
        (normalised(60), normalised(255), NORMALISES, None),  # dark ones
        (BLACK, normalised(255), NORMALISES, None),
        (normalised(255), [], NORMALISES, None),
        ([torch.zeros(2, 3)], normalised(255), NORMALISES, None),
    ],
)
def test_images_of_another_unit_are_doubted(train, val, preprocessor, said):
    doubts = [*doubts_of_units(train, val, preprocessor)]
    assert len(doubts) == (said is not None)
    assert said is None or re.search(said, doubts[0])


def test_a_training_is_begun_with_a_warning(runner, capfd):
    try_training(runner(noise(1)))
    said = capfd.readouterr()
    assert 'metrics in pixels, export and predict refuse such images' in said.out + said.err


@pytest.mark.parametrize(
    ('images', 'normalisation', 'of_teacher', 'message'),
    [
        (noise(255, np.uint8), {}, dict(mean=[120.0], std=[60.0]), None),
        (noise(1), IN_UNIT, dict(mean=[0.4], std=[0.2]), None),  # of the same unit
        (noise(1), IN_UNIT, dict(mean=[120.0], std=[60.0]), 'to (1|0.9).*, so that pixels 0 to'),
        (noise(4, lowest=-0.5), dict(mean=[0.0], std=[1.0]), dict(mean=[120.0], std=[60.0]), 'bey'),
        (noise(65535, np.int32), {}, dict(mean=[120.0], std=[60.0]), 'beyond pixels'),
    ],
    ids=['pixels', 'unit', 'mixed', 'normalised', '16-bit'],
)
def test_a_teacher_of_pixels_gets_pixels(runner, images, normalisation, of_teacher, message):
    started = runner(images, **normalisation, teacher=dict(data_preprocessor=of_teacher))
    if message is None:
        try_training(started)
        return
    with pytest.raises(ConfigError, match=rf'^model\.teacher: images have pixels from .*{message}'):
        try_training(started)


# ---------------------------------------------------------------- channels


@pytest.mark.parametrize('boundary', [{}, dict(loss_weight=1.0)], ids=['kd', 'bss'])
def test_a_teacher_of_three_channels_is_refused_beside_a_student_of_one(runner, boundary):
    colours = dict(mean=[120.0] * 3, std=[60.0] * 3)
    teacher = dict(in_channels=3, data_preprocessor=colours)
    with pytest.raises(ConfigError, match=r'^model\.teacher: .* images of 1 channels.* of 3'):
        try_training(runner(teacher=teacher, **boundary))


def test_one_mean_may_stand_for_all_channels(runner):
    student = dict(in_channels=3)
    teacher = dict(student, data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3))
    images = noise(255, np.uint8, shape=(64, 8, 8, 3))
    try_training(runner(images, student=student, teacher=teacher, loss_weight=1.0))


# ---------------------------------------------------------------- in place


@MODELS.register_module(name='TestInPlace')
class InPlace(BaseModule):
    """Normalises what it gets, in place where it is told so."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place
        self.layer = torch.nn.Conv2d(1, 8, 1)

    def forward(self, x):
        """Features."""
        x = x.sub_(0.5) if self.in_place else x - 0.5
        return (self.layer(x),)


@pytest.mark.parametrize('boundary', [{}, dict(loss_weight=1.0)], ids=['kd', 'bss'])
@pytest.mark.parametrize('role', ['student', 'teacher'])
@pytest.mark.parametrize('in_place', [True, False])
def test_a_network_that_changes_its_input_is_refused(runner, role, in_place, boundary):
    backbone = dict(type='mmbss.TestInPlace', in_place=in_place)
    started = runner(**{role: dict(backbone=backbone)}, **boundary)
    if not in_place:
        try_training(started)
        return
    where = dict(student='model', teacher=r'model\.teacher')[role]
    with pytest.raises(ConfigError, match=rf'^{where} changes the images it gets in place'):
        try_training(started)
