import pytest

from mmbss.distil.configs import Paths, write_configs
from mmbss.distil.data import look_at
from mmbss.distil.job import Job, Request
from mmbss.distil.methods import METHODS, settings_to_try
from mmbss.distil.networks import NO_WEIGHTS, network_of
from mmbss.distil.teachers import choose_teacher
from mmbss.engine.cli.config import load_config
from mmbss.engine.config_checks import check_config


@pytest.fixture
def written(write_images, tmp_path):
    """Write the configs of all methods for images of a size; gives what reads one of them."""

    def write(size=8, mode='RGB', networks=('resnet8', 'resnet14'), epochs=20, seen_at=None):
        data = look_at(write_images({'a': 10, 'b': 10}, size, mode), 0, 1, seen_at)
        paths = Paths(tmp_path / 'work')
        student, teacher = networks
        job = Job(
            Request(data.root, paths.folder, batch_size=4),
            data,
            network_of(student, NO_WEIGHTS, 2, data.size),
            choose_teacher(teacher, None, {}, data.classes, data.size),
            [*METHODS],
        )
        write_configs(paths, job, settings_to_try([*METHODS], 3), epochs)
        return paths, lambda name: load_config(str(paths.config(name)))

    return write


def test_modules_of_a_network_are_imported_where_it_is_trained(
    written, write_config, resnet_config, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'nets_of_a_lab.py').touch()
    config = dict(model=resnet_config(in_channels=3), custom_imports=dict(imports='nets_of_a_lab'))
    read = written(networks=(str(write_config(tmp_path / 'mine.py', config)), 'resnet14'))[1]
    for name in ('labels', 'kd-t4-w0.9'):
        assert read(name).custom_imports.imports == ['mmbss', 'nets_of_a_lab']


def transforms(config, split):
    return [each['type'] for each in config[f'{split}_dataloader'].dataset.pipeline]


def test_all_are_sound(written):
    paths, read = written()
    settings = settings_to_try([*METHODS], 3)
    names = {path.stem for path in paths.configs.iterdir()}
    assert names == {'data', 'teacher', *(each.name for each in settings)}
    for name in ('teacher', *(each.name for each in settings_to_try([*METHODS], 1))):
        check_config(read(name))


def test_methods_change_what_they_say_and_nothing_else(written):
    paths, read = written()
    labels = read('labels').to_dict()
    for each in settings_to_try(['kd', 'bss'], 1):
        own = read(each.name).to_dict()
        assert own['model'].pop('losses') == each.model['losses']
        assert own['model'].pop('teacher') == dict(
            config=str(paths.config('teacher')), checkpoint=str(paths.teacher / 'epoch_20.pth')
        )
        own['default_hooks'].pop('bss', None)
        for part in (own, labels):
            part['model'] = {**part['model'], 'type': '', 'head': ''}
        assert own == labels


def test_a_teacher_sees_colours_in_the_order_of_its_training(
    written, write_config, resnet_config, tmp_path
):
    config = dict(
        model=resnet_config(in_channels=3),
        data_preprocessor=dict(mean=[110.0, 120.0, 130.0], std=[60.0] * 3),
    )
    blue_first = str(write_config(tmp_path / 'blue_first.py', config))
    read = written(networks=('resnet8', blue_first))[1]
    assert not read('teacher').data_preprocessor.to_rgb
    assert read('kd-t4-w0.9').model.teacher.reverse_channels
    check_config(read('kd-t4-w0.9'))
    assert (
        'reverse_channels' not in written(networks=(blue_first,) * 2)[1]('kd-t4-w0.9').model.teacher
    )


def test_lengths_and_intervals(written):
    _, read = written(epochs=40)
    for name in ('labels', 'teacher'):
        assert read(name).train_cfg.max_epochs == 40
        assert read(name).train_cfg.val_interval == 4
        assert read(name).param_scheduler.T_max == 40


def test_colour_is_mirrored_and_grey_is_not(written):
    assert 'RandomFlip' in transforms(written()[1]('labels'), 'train')
    assert 'RandomFlip' not in transforms(written(mode='L')[1]('labels'), 'train')


def test_large_images_are_cropped(written):
    config = written(size=96, networks=('mobilenet_v2', 'resnet18'))[1]('labels')
    assert 'RandomResizedCrop' in transforms(config, 'train')
    for split in ('val', 'test'):
        assert transforms(config, split)[1:3] == ['ResizeEdge', 'CenterCrop']


def test_other_sizes_are_resized(written):
    assert 'Resize' not in transforms(written()[1]('labels'), 'val')
    config = written(seen_at=16)[1]('labels')
    assert config.val_dataloader.dataset.pipeline[1] == dict(type='Resize', scale=(16, 16))
    assert transforms(config, 'train')[1:3] == ['Resize', 'RandomCrop']


def test_plain_to_read(written):
    paths, _ = written()
    for path in paths.configs.iterdir():
        text = path.read_text()
        assert text.startswith('# ')
        assert (
            max(len(line) for line in text.splitlines() if str(paths.configs.parent) not in line)
            <= 100
        )
