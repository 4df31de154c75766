import pytest
import torch
from torch import nn

from mmbss.distil.teachers import choose_teacher, naming_options, why_not
from mmbss.engine.errors import ConfigError
from mmbss.teachers.sources import Source

CLASSES = ['a', 'b', 'c']


def teacher_of(name, weights=None, size=32, **further):
    return choose_teacher(name, weights, further, CLASSES, size)


@pytest.mark.parametrize(
    ('count', 'classes', 'fits'),
    [
        (3, None, True),
        (None, None, True),
        (3, ('a', 'b', 'c'), True),
        (3, ('a', 'c', 'b'), False),
        (3, ('x', 'y', 'z'), False),
        (10, None, False),
    ],
)
def test_whose_classes_fit(count, classes, fits):
    source = Source(nn.Identity(), num_classes=count, classes=classes)
    assert (why_not(source, CLASSES) is None) == fits


def test_a_name_is_trained():
    choice = teacher_of('resnet26')
    assert choice.entry is None
    assert choice.network.model['head']['num_classes'] == 3


@pytest.fixture
def trained(tmp_path, write_config, resnet_config, build_model):
    """A config and a checkpoint of so many classes."""

    def make(num_classes, classes=None):
        model = resnet_config(in_channels=3, num_classes=num_classes)
        config = write_config(tmp_path / f'{num_classes}.py', dict(model=model))
        meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
        path = tmp_path / f'{num_classes}.pth'
        torch.save(dict(state_dict=build_model(model).state_dict(), meta=meta), path)
        return str(config), str(path)

    return make


def test_of_these_classes_it_is_taken_as_it_is(trained):
    config, checkpoint = trained(3, CLASSES)
    choice = teacher_of(config, checkpoint)
    assert choice.network is None
    assert choice.entry == dict(config=config, checkpoint=checkpoint)
    assert choice.has_gradient


@pytest.mark.parametrize('classes', [None, [*'abcdefghij']])
def test_of_other_classes_it_is_fine_tuned(trained, classes):
    choice = teacher_of(*trained(10, classes))
    assert choice.entry is None
    assert choice.network.is_pretrained
    assert choice.network.model['head']['num_classes'] == 3


def test_in_another_order_it_is_fine_tuned(trained):
    assert teacher_of(*trained(3, ['c', 'b', 'a'])).network.is_pretrained


def test_options_may_reach_into_its_arguments(tmp_path):
    network = tmp_path / 'own.pth'
    torch.save(nn.Linear(3, 3).state_dict(), network)
    further = {'arguments.in_features': 3, 'arguments.out_features': 3, 'input_size': 8}
    choice = choose_teacher('python:torch.nn:Linear', str(network), further, CLASSES, 32)
    arguments = dict(in_features=3, out_features=3)
    assert choice.entry['arguments'] == arguments
    assert choice.entry['input_size'] == 8


def test_a_function_is_taken_or_refused(monkeypatch):
    monkeypatch.setattr(
        'mmbss.distil.teachers.load_source',
        lambda *args: Source(nn.Identity(), num_classes=10, differentiable=False),
    )
    with pytest.raises(ConfigError, match='10 classes'):
        teacher_of('onnx:a.onnx')
    monkeypatch.setattr(
        'mmbss.distil.teachers.load_source',
        lambda *args: Source(nn.Identity(), num_classes=3, differentiable=False),
    )
    choice = teacher_of('onnx:a.onnx', input_size=64)
    assert choice.entry == dict(config='onnx:a.onnx', input_size=64)
    assert not choice.has_gradient


def test_classes_that_are_given_are_those_that_it_has(monkeypatch):
    monkeypatch.setattr(
        'mmbss.distil.teachers.load_source', lambda *args: Source(nn.Identity(), num_classes=3)
    )
    assert 'alphabetical' in teacher_of('onnx:a.onnx').about
    assert 'alphabetical' not in teacher_of('onnx:a.onnx', classes=CLASSES).about
    with pytest.raises(ConfigError, match='another order'):
        teacher_of('onnx:a.onnx', classes=CLASSES[::-1])
    with pytest.raises(ConfigError, match='classes are others'):
        teacher_of('onnx:a.onnx', classes=CLASSES[:2])


def test_random_answers_are_refused():
    with pytest.raises(ConfigError, match='--teacher-checkpoint none'):
        teacher_of('torchvision:resnet18', 'none')


@pytest.mark.parametrize(
    ('message', 'hinted'),
    [
        ('set teacher.reverse_channels to True or False', True),
        ('teacher.arguments of resnet18: no key a', True),
        ('no file /data/teacher.pth', False),
        ('it has 10 classes', False),
    ],
)
def test_a_mistake_in_a_key_of_the_teacher_says_how_it_is_given(message, hinted):
    with pytest.raises(ConfigError) as caught, naming_options():
        raise ConfigError(message)
    assert str(caught.value).startswith(message)
    assert ('--teacher-options' in str(caught.value)) == hinted
