import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from safetensors.torch import save_file

import mmbss
from mmbss.registry import MODELS
from mmbss.teachers.classifiers import load_model_config

DATA = Path(mmbss.__file__).resolve().parents[2] / 'shared' / 'data'
TEACHER = DATA / 'bss_resnet26_cifar10_teacher.safetensors'
#: Of the first 500 test images, as measured with the network rebuilt here; not a published figure.
MEASURED_RIGHT = 465


@pytest.fixture
def config(root):
    return root / 'configs' / 'baseline' / 'resnet8_1xb256-80e_cifar10.py'


def theirs(model):
    """The state dict under the names that the authors give."""
    return {
        key.replace('head.fc.', 'linear.').removeprefix('backbone.'): value.clone()
        for key, value in model.state_dict().items()
    }


@pytest.fixture
def model(config, build_model):
    return build_model(load_model_config(str(config)))


@pytest.mark.parametrize('form', ['safetensors', 'bare', 'net'])
def test_weights_get_their_names_here(form, model, config, call_tool, tmp_path, capsys):
    state = theirs(model)
    source = tmp_path / ('in.safetensors' if form == 'safetensors' else 'in.pth')
    if form == 'safetensors':
        save_file({key: value.contiguous() for key, value in state.items()}, source)
    else:
        torch.save(state if form == 'bare' else dict(net=state, acc=92.5, epoch=80), source)
    target = tmp_path / 'deep' / 'folder' / 'out.pth'
    call_tool('convert_authors_checkpoint', source, config, target)
    converted = torch.load(target)['state_dict']
    expected = model.state_dict()
    assert list(converted) == list(expected)
    assert all(torch.equal(converted[key], expected[key]) for key in expected)
    assert '75,290 parameters' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('layer2.0.bn1.weight'), r'layer2\.0\.bn1\.weight'),
        (lambda state: state.update(extra=torch.zeros(1)), 'extra'),
        (lambda state: state.update({'linear.bias': torch.zeros(7)}), r'head\.fc\.bias'),
    ],
    ids=['missing', 'left over', 'shape'],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    change, message, model, config, call_tool, tmp_path
):
    state = theirs(model)
    change(state)
    torch.save(state, tmp_path / 'in.pth')
    with pytest.raises(SystemExit, match=rf'(?s)^error: .*{message}'):
        call_tool('convert_authors_checkpoint', tmp_path / 'in.pth', config, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


@pytest.fixture
def first_test_images():
    """The first 500 test images of CIFAR-10: (500, 32, 32, 3) uint8 RGB, and their labels."""
    image = pytest.importorskip('PIL.Image')
    image.MAX_IMAGE_PIXELS = None
    mosaic = np.asarray(
        image.open(DATA / 'cifar10' / 'test_batch.webp').crop((0, 0, 3200, 160)).convert('RGB')
    )
    images = mosaic.reshape(5, 32, 100, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    labels = json.loads((DATA / 'cifar10' / 'labels.json').read_text())['test_batch']
    return images, np.asarray(labels[:500])


@pytest.mark.skipif(not TEACHER.is_file(), reason=f"needs the authors' teacher, {TEACHER}")
def test_the_authors_teacher_classifies_as_it_did(call_tool, root, tmp_path, first_test_images):
    config = root / 'configs' / 'baseline' / 'resnet26_1xb256-80e_cifar10.py'
    call_tool('convert_authors_checkpoint', TEACHER, config, tmp_path / 'out.pth')
    file = Config.fromfile(config)
    network = MODELS.build(dict(file.model, data_preprocessor=file.data_preprocessor))
    network.load_state_dict(torch.load(tmp_path / 'out.pth')['state_dict'], strict=True)
    network.eval()
    images, labels = first_test_images
    inputs = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = network(network.data_preprocessor(dict(inputs=inputs))['inputs'])
    right = int((logits.argmax(dim=1) == torch.from_numpy(labels)).sum())
    assert right == MEASURED_RIGHT


def test_a_file_that_is_there_is_kept(model, config, call_tool, tmp_path):
    source = tmp_path / 'in.pth'
    torch.save(theirs(model), source)
    content = source.read_bytes()
    with pytest.raises(SystemExit, match=r'in\.pth is there already'):
        call_tool('convert_authors_checkpoint', source, config, source)
    assert source.read_bytes() == content


@pytest.mark.parametrize('content', [{1: torch.zeros(1)}, dict(net=[torch.zeros(1)])])
def test_a_file_without_named_weights_is_refused(content, config, call_tool, tmp_path):
    torch.save(content, tmp_path / 'in.pth')
    with pytest.raises(SystemExit, match='holds no weights by name'):
        call_tool('convert_authors_checkpoint', tmp_path / 'in.pth', config, tmp_path / 'out.pth')
