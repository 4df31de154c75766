"""Teachers of timm: its own weights and preprocessing, from a file, a folder and the hub."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from mmbss.engine.errors import ConfigError, FileError, MissingFileError
from mmbss.teachers.sources import load_source

timm = pytest.importorskip('timm')
SIZE = 160  # of test_resnet


@pytest.fixture
def network(draw):
    return draw(timm.create_model('test_resnet', num_classes=10))


@pytest.fixture
def checkpoint(network, tmp_path):
    path = tmp_path / 'network.pth'
    torch.save(network.state_dict(), path)
    return str(path)


def test_answers_as_timm_does(make_teacher, network, checkpoint, pixels, to_student):
    images = pixels(SIZE)
    wants = dict(timm.data.resolve_model_data_config(network), crop_pct=1.0)
    transform = timm.data.create_transform(**wants)
    own = network(torch.stack([transform(Image.fromarray(image)) for image in images]))
    teacher = make_teacher(
        'timm:test_resnet', checkpoint=checkpoint, arguments=dict(num_classes=10)
    )
    inputs = to_student(images)
    torch.testing.assert_close(teacher(inputs), own, atol=1e-4, rtol=0)
    assert (teacher.num_classes, teacher.input_size) == (10, (SIZE, SIZE))
    # a gradient goes through the change of the size
    small = to_student(pixels(32)).requires_grad_()
    assert teacher.logits(teacher.from_student(small)).sum().backward() is None
    assert small.grad.abs().sum() > 0


def test_features_by_path(make_teacher, checkpoint, pixels, to_student):
    teacher = make_teacher(
        'timm:test_resnet',
        checkpoint=checkpoint,
        arguments=dict(num_classes=10),
        input_size=64,
    )
    teacher.watch(['layer2'])
    with teacher.recorder.recording(['layer2']) as features:
        teacher(to_student(pixels(32)))
    assert features['layer2'].shape[:2] == (4, 48)


def test_safetensors_and_settings(network, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / 'network.safetensors'
    save_file(network.state_dict(), path)
    source = load_source('timm:test_resnet', str(path), dict(num_classes=10))
    assert source.mean == source.std == [127.5] * 3
    assert source.channels == 'rgb'
    assert source.classes is None  # of somebody's own weights
    torch.testing.assert_close(source.network.fc.weight, network.fc.weight)
    assert not source.network.training


def test_averaged_weights_are_taken_as_timm_takes_them(network, tmp_path):
    state = network.state_dict()
    path = tmp_path / 'model_best.pth.tar'
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save(dict(state_dict=other, state_dict_ema=state), path)
    source = load_source('timm:test_resnet', str(path), dict(num_classes=10))
    torch.testing.assert_close(source.network.fc.weight, network.fc.weight)


def test_folder_of_a_grey_network_says_its_normalisation(draw, tmp_path):
    network = draw(timm.create_model('test_resnet', num_classes=3, in_chans=1))
    config = dict(mean=(0.13,), std=(0.31,), input_size=(1, 32, 32))
    network.pretrained_cfg.update(config)
    timm.models.save_for_hf(
        network,
        tmp_path,
        model_config=dict(pretrained_cfg=config, num_classes=3, model_args=dict(in_chans=1)),
        safe_serialization=True,
    )
    source = load_source(f'timm:{tmp_path}', None, None)
    assert (source.mean, source.std) == ([pytest.approx(33.15)], [pytest.approx(79.05)])
    assert source.channels is None


def test_folder_says_its_classes(network, tmp_path):
    names = [f'kind {index}' for index in range(10)]
    timm.models.save_for_hf(
        network, tmp_path, model_config=dict(label_names=names), safe_serialization=True
    )
    source = load_source(f'timm:{tmp_path}', None, None)
    assert source.classes == tuple(names)
    torch.testing.assert_close(source.network.fc.weight, network.fc.weight)


def test_published_weights(draw, monkeypatch, tmp_path):
    torch.save(draw(timm.create_model('test_resnet')).state_dict(), tmp_path / 'pytorch_model.bin')
    asked = []
    monkeypatch.setattr(
        'huggingface_hub.snapshot_download',
        lambda repo, allow_patterns: asked.append((repo, *allow_patterns)) or str(tmp_path),
    )
    source = load_source('timm:test_resnet', None, None)
    assert source.classes[0] == 'tench, Tinca tinca'
    assert len(source.classes) == 1000
    # a pickle is asked for only where there are no safetensors
    assert ['model.safetensors' in each for each in asked] == [True, False]
    with pytest.raises(ConfigError, match='does not fit'):
        load_source('timm:test_resnet', None, dict(num_classes=10))


def test_files_of_older_versions_are_translated(draw, tmp_path):
    arguments = dict(
        img_size=32, window_size=4, embed_dim=8, depths=(2, 1), num_heads=(1, 1), num_classes=5
    )
    network = draw(timm.create_model('swin_tiny_patch4_window7_224', **arguments))
    older = dict(network.state_dict(), **{'layers.0.blocks.1.attn_mask': torch.zeros(4, 16, 16)})
    torch.save(older, tmp_path / 'swin.pth')
    source = load_source('timm:swin_tiny_patch4_window7_224', str(tmp_path / 'swin.pth'), arguments)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(source.ask(source.network, images), network(images))
    assert source.input_size == (32, 32)


def test_of_grey_images_nothing_is_said(draw, tmp_path):
    arguments = dict(in_chans=1, num_classes=3)
    torch.save(timm.create_model('test_resnet', **arguments).state_dict(), tmp_path / 'grey.pth')
    source = load_source('timm:test_resnet', str(tmp_path / 'grey.pth'), arguments)
    assert source.mean is source.std is source.channels is None


@pytest.mark.parametrize(
    ('name', 'arguments', 'word'),
    [
        ('resnet5', {}, 'resnet50'),
        ('test_resnet.of_nobody', {}, 'tag'),
        ('test_resnet', dict(depht=3), 'depht'),
        ('test_resnet', dict(pretrained=True), 'teacher.checkpoint'),
        ('test_resnet', dict(num_classes=0), 'no classifier'),
        ('test_resnet', dict(num_classes=7), r'\(10,\) instead of \(7,\)'),
    ],
)
def test_refused(name, arguments, word, checkpoint):
    with pytest.raises(ConfigError, match=word):
        load_source(f'timm:{name}', checkpoint, arguments)


def test_weights_that_are_not_there(tmp_path, network, checkpoint, monkeypatch):
    with pytest.raises(MissingFileError):
        load_source('timm:test_resnet', str(tmp_path / 'other.pth'), None)
    with pytest.raises(ConfigError, match='random'):  # timm has published none
        load_source('timm:test_mambaout', None, None)
    state = network.state_dict()
    state['fc.bias'][0] = float('nan')
    torch.save(state, tmp_path / 'broken.pth')
    with pytest.raises(ConfigError, match='NaN'):
        load_source('timm:test_resnet', str(tmp_path / 'broken.pth'), dict(num_classes=10))
    Path(tmp_path / 'config.json').write_text(Path(timm.__file__).name)
    with pytest.raises(ConfigError):  # no JSON
        load_source(f'timm:{tmp_path}', None, None)

    def cut_off(repo, allow_patterns):
        raise ConnectionError('no route')

    monkeypatch.setattr('huggingface_hub.snapshot_download', cut_off)
    with pytest.raises(FileError, match=r'cannot download .*no route.*local'):
        load_source('timm:test_resnet', None, None)
    with pytest.raises(FileError, match='owner/name'):
        load_source('timm:hf-hub:owner/name', None, None)
