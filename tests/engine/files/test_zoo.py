"""The models of the zoo: each is whole, loads by its name, and is as good as it says."""

import hashlib

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model, list_models

from mmbss.engine.errors import MissingFileError
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.files.zoo import SCHEME, ZOO, weights_of
from mmbss.registry import DATASETS

METAFILE = ZOO / 'metafile.yml'
MODELS = {model['Name']: model for model in mmengine.load(METAFILE)['Models']}
#: The config whose test data a model is measured on.
TESTED_ON = {
    'Digits': 'configs/_base_/datasets/digits_bs64.py',
    'CIFAR-10': 'configs/_base_/datasets/cifar10_bs256.py',
}


def test_every_folder_is_a_model_and_the_other_way_round():
    assert {path.parent.name for path in ZOO.glob('*/student.py')} == set(MODELS)
    assert {path.parent.name for path in ZOO.glob('*/student.safetensors')} == set(MODELS)


@pytest.mark.parametrize('name', MODELS)
def test_the_metafile_says_what_is_there(name, root):
    model = MODELS[name]
    content = weights_of(f'{SCHEME}{name}').read_bytes()
    assert model['Weights'] == f'{SCHEME}{name}'
    assert model['Metadata']['SHA256'] == hashlib.sha256(content).hexdigest()
    assert model['Config'] == f'zoo/{name}/student.py'
    assert (root / model['Metadata']['Training Config']).is_file()
    network = get_model(name)
    number = sum(parameter.numel() for parameter in network.parameters())
    assert model['Metadata']['Parameters'] == number
    assert name in list_models()


@pytest.mark.parametrize('name', MODELS)
def test_a_model_has_its_accuracy(name, root, monkeypatch):
    monkeypatch.chdir(root)
    (result,) = MODELS[name]['Results']
    cfg = Config.fromfile(root / TESTED_ON[result['Dataset']])
    settings = cfg.test_dataloader.dataset
    if 'data_file' in settings and not (root / settings.data_file).is_file():
        pytest.skip(f'needs {settings.data_file}')
    dataset = DATASETS.build(settings)
    model = get_model(name, pretrained=True).eval()
    first = range(min(1000, len(dataset)))
    assert len(first) == result['Metrics']['First images']
    # pixels as mmcv reads them from a file: blue first
    images = torch.stack([dataset[index]['inputs'] for index in first]).flip(1)
    labels = torch.cat([dataset[index]['data_samples'].gt_label for index in first])
    normalised = model.data_preprocessor(dict(inputs=images), training=False)['inputs']
    with torch.no_grad():
        right = model(normalised).argmax(dim=1) == labels
    assert right.sum().item() == result['Metrics']['Of them right']


def test_a_model_brings_its_classes():
    names = get_model('bss_resnet8_cifar10', pretrained=True)._dataset_meta['classes']
    assert names[:3] == ['airplane', 'automobile', 'bird']


def test_a_name_that_the_zoo_has_not_is_refused():
    with pytest.raises(MissingFileError, match=r'nothing.*bss_resnet8_cifar10'):
        read_checkpoint(f'{SCHEME}nothing')
    with pytest.raises(MissingFileError):
        read_checkpoint(f'{SCHEME}../zoo/bss_resnet8_cifar10')


def test_importing_mmbss_once_more_changes_nothing(python):
    python('-c', 'import importlib, mmpretrain.apis.model, mmbss; importlib.reload(mmbss)')
