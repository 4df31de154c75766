"""Teachers of torchvision: its own preprocessing, published files and files of one's own."""

from pathlib import Path

import pytest
import torch
import torchvision.models
from PIL import Image

from mmbss.engine.errors import ConfigError, FileError
from mmbss.teachers.sources import load_source

NAME = 'squeezenet1_1'  # the smallest
WEIGHTS = torchvision.models.get_model_weights(NAME).DEFAULT


@pytest.fixture(scope='module')
def network():
    return torchvision.models.get_model(NAME, num_classes=10).eval()


@pytest.fixture
def checkpoint(network, tmp_path):
    path = tmp_path / 'mine.pth'
    torch.save(network.state_dict(), path)
    return str(path)


def test_answers_as_torchvision_does(make_teacher, network, checkpoint, pixels, to_student):
    images = pixels(224)
    transform = WEIGHTS.transforms(resize_size=224)
    own = network(torch.stack([transform(Image.fromarray(image)) for image in images]))
    teacher = make_teacher(
        f'torchvision:{NAME}', checkpoint=checkpoint, arguments=dict(num_classes=10)
    )
    torch.testing.assert_close(teacher(to_student(images)), own, atol=1e-4, rtol=0)
    assert (teacher.num_classes, teacher.input_size, teacher.classes) == (10, (224, 224), None)


def test_change_of_the_size_is_the_librarys(make_teacher, network, checkpoint, pixels, to_student):
    # images of floats, which torchvision does not round when it resizes them
    images = pixels(32)
    transform = WEIGHTS.transforms(resize_size=224)
    values = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    teacher = make_teacher(
        f'torchvision:{NAME}', checkpoint=checkpoint, arguments=dict(num_classes=10)
    )
    own = network(transform(values))
    torch.testing.assert_close(teacher(to_student(images)), own, atol=1e-4, rtol=0)


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A file that is named like the published one."""
    path = tmp_path_factory.mktemp('weights') / Path(WEIGHTS.url).name
    torch.save(torchvision.models.get_model(NAME).state_dict(), path)
    return path


def test_published_file_is_known_by_its_name(published, tmp_path):
    source = load_source(f'torchvision:{NAME}', str(published), None)
    assert source.classes[:2] == ('tench', 'goldfish')
    other = tmp_path / 'renamed.pth'
    other.write_bytes(published.read_bytes())
    assert load_source(f'torchvision:{NAME}', str(other), None).classes is None
    source = load_source(f'torchvision:{NAME}', str(other), dict(weights='IMAGENET1K_V1'))
    assert source.num_classes == len(source.classes) == 1000
    with pytest.raises(ConfigError, match='num_classes'):
        load_source(f'torchvision:{NAME}', str(published), dict(num_classes=10))


def test_published_weights_are_downloaded_by_us(published, monkeypatch):
    urls = []
    monkeypatch.setattr(
        'mmbss.engine.files.checkpoint_reading.download', lambda url: urls.append(url) or published
    )
    load_source(f'torchvision:{NAME}', None, None)
    assert urls == [WEIGHTS.url]

    def cut_off(url):
        raise FileError(f'cannot download {url}')

    monkeypatch.setattr('mmbss.engine.files.checkpoint_reading.download', cut_off)
    with pytest.raises(FileError, match=r'cannot download.*local file as teacher\.checkpoint'):
        load_source(f'torchvision:{NAME}', None, None)


def test_builders_translate_older_names(tmp_path):
    # densenet's published files say norm.1 where the module is norm1, and count no batches
    network = torchvision.models.get_model('densenet121')
    older = {
        name.replace('.norm1.', '.norm.1.').replace('.conv1.', '.conv.1.'): value
        for name, value in network.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    weights = torchvision.models.get_model_weights('densenet121').DEFAULT
    path = tmp_path / Path(weights.url).name
    torch.save(older, path)
    source = load_source('torchvision:densenet121', str(path), None)
    torch.testing.assert_close(
        source.network.features.denseblock1.denselayer1.conv1.weight,
        network.features.denseblock1.denselayer1.conv1.weight,
    )


@pytest.mark.parametrize(
    ('name', 'arguments', 'word'),
    [
        ('resnet5', {}, 'resnet50'),
        ('fcn_resnet50', {}, 'no classifier'),
        (NAME, dict(weights='V7'), 'IMAGENET1K_V1'),
        (NAME, dict(num_clases=10), 'num_clases'),
        (NAME, dict(num_classes=7), r'\(10,\) instead of \(7,\)'),
        (NAME, dict(weights='DEFAULT'), 'size mismatch'),
        ('googlenet', {}, 'transform_input'),
    ],
)
def test_refused(name, arguments, word, checkpoint):
    with pytest.raises(ConfigError, match=word):
        load_source(f'torchvision:{name}', checkpoint, arguments)


def test_arguments_that_a_model_swallows(tmp_path):
    network = torchvision.models.get_model('mobilenet_v3_small', num_classes=2)
    torch.save(network.state_dict(), tmp_path / 'small.pth')
    path = str(tmp_path / 'small.pth')
    assert load_source('torchvision:mobilenet_v3_small', path, dict(num_classes=2)).num_classes == 2
    with pytest.raises(ConfigError, match='knows no num_clases'):
        load_source('torchvision:mobilenet_v3_small', path, dict(num_classes=2, num_clases=2))


def test_arguments_that_only_a_builder_takes(tmp_path):
    arguments = dict(num_classes=2, width_mult=0.5)
    network = torchvision.models.get_model('mobilenet_v3_small', **arguments)
    torch.save(network.state_dict(), tmp_path / 'small.pth')
    source = load_source('torchvision:mobilenet_v3_small', str(tmp_path / 'small.pth'), arguments)
    assert source.num_classes == 2


def test_a_size_of_the_image_that_is_set_is_asked_for(tmp_path, monkeypatch):
    arguments = dict(num_classes=2, image_size=32)
    network = torchvision.models.get_model('vit_b_32', **arguments)
    torch.save(network.state_dict(), tmp_path / 'vit.pth')
    source = load_source('torchvision:vit_b_32', str(tmp_path / 'vit.pth'), arguments)
    assert source.input_size == (32, 32)
