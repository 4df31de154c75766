import pytest
import torch

from mmbss.distil.networks import NAMES, NO_WEIGHTS, network_of
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.studies.classifiers import build_classifier
from mmbss.teachers.classifiers import load_model_config


def built(network, tmp_path):
    config = dict(model=network.model)
    if network.base:
        config['_base_'] = network.base
    path = tmp_path / 'network.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    return build_classifier(str(path))


@pytest.mark.parametrize('name', ['resnet8', 'resnet18', 'mobilenet_v2', 'MobileNet-v3-small'])
def test_by_name(tmp_path, name):
    model = built(network_of(name, NO_WEIGHTS, 3, 32), tmp_path).eval()
    assert model(torch.zeros(2, 3, 32, 32), mode='tensor').shape == (2, 3)


@pytest.mark.parametrize('name', NAMES)
def test_each_name_has_a_config(name):
    network = network_of(name, NO_WEIGHTS, 3, 32)
    assert load_model_config(network.base)['head']['type']


def test_resnets_of_small_images_stride_less():
    small, large = (network_of('resnet18', NO_WEIGHTS, 3, size).base for size in (32, 224))
    assert 'cifar' in small
    assert 'cifar' not in large


def test_the_model_of_a_config(tmp_path, write_config, resnet_config):
    normalisation = dict(mean=[1.0] * 3, std=[2.0] * 3)
    config = dict(model=resnet_config(in_channels=3), data_preprocessor=normalisation)
    network = network_of(str(write_config(tmp_path / 'a.py', config)), NO_WEIGHTS, 3, 8)
    # blue first, as it was where the config says nothing of colours
    assert network.preprocessor == dict(normalisation, to_rgb=False)
    assert built(network, tmp_path).head.num_classes == 3


def test_colours_of_arrays_are_in_the_order_of_the_files(tmp_path, write_config, resnet_config):
    def order_of(pipeline, to_rgb):
        loader = dict(dataset=dict(type='Any', **pipeline))
        normalisation = dict(mean=[1.0] * 3, std=[2.0] * 3, to_rgb=to_rgb)
        config = dict(
            model=resnet_config(in_channels=3),
            data_preprocessor=normalisation,
            test_dataloader=loader,
        )
        path = write_config(tmp_path / 'a.py', config)
        return network_of(str(path), NO_WEIGHTS, 3, 8).preprocessor['to_rgb']

    files = dict(pipeline=[dict(type='mmpretrain.LoadImageFromFile'), dict(type='PackInputs')])
    arrays = dict(pipeline=[dict(type='PackInputs')])
    assert [order_of(files, to_rgb) for to_rgb in (False, True)] == [False, True]
    # they are RGB as they are, and files are read as BGR
    assert order_of(arrays, to_rgb=False)
    assert order_of({}, to_rgb=False)
    ours = network_of('mmbss::baseline/resnet8_1xb256-80e_cifar10.py', NO_WEIGHTS, 3, 8)
    assert ours.preprocessor['to_rgb']


def test_modules_that_a_config_imports_are_those_of_its_network(
    tmp_path, write_config, resnet_config, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'nets_of_a_lab.py').touch()
    for imports in (['mmbss', 'nets_of_a_lab'], 'nets_of_a_lab'):
        config = dict(model=resnet_config(), custom_imports=dict(imports=imports))
        network = network_of(str(write_config(tmp_path / 'a.py', config)), NO_WEIGHTS, 3, 8)
        assert 'nets_of_a_lab' in network.imports


def test_weights_that_a_config_names(tmp_path, write_config, resnet_config):
    model = resnet_config(in_channels=3)
    model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='a.pth', prefix='backbone')
    config = str(write_config(tmp_path / 'a.py', dict(model=model)))
    kept, left_out = network_of(config, None, 3, 8), network_of(config, NO_WEIGHTS, 3, 8)
    assert kept.is_pretrained
    assert 'random' not in kept.about
    assert kept.model['backbone']['init_cfg']['checkpoint'] == 'a.pth'
    assert not left_out.is_pretrained
    assert 'random' in left_out.about
    assert 'init_cfg' not in left_out.model['backbone']
    assert 'random' in network_of('resnet8', None, 3, 8).about


def test_timm(tmp_path):
    pytest.importorskip('timm')
    network = network_of('timm:test_resnet', NO_WEIGHTS, 3, 32)
    assert not network.is_pretrained
    assert network.preprocessor['to_rgb']
    model = built(network, tmp_path).eval()
    assert model(torch.zeros(2, 3, 32, 32), mode='tensor').shape == (2, 3)


def test_weights_of_a_file_of_timm_with_a_classifier_of_its_own(tmp_path):
    timm = pytest.importorskip('timm')
    trained = timm.create_model('test_resnet', num_classes=5)
    path = tmp_path / 'weights.pth'
    torch.save(trained.state_dict(), path)
    network = network_of('timm:test_resnet', str(path), 3, 32)
    assert network.is_pretrained
    model = built(network, tmp_path)
    model.init_weights()
    backbone = model.backbone.timm_model.state_dict()
    expected = trained.state_dict()
    assert backbone
    assert all(torch.equal(value, expected[name]) for name, value in backbone.items())


def test_weights_of_a_file(tmp_path):
    path = tmp_path / 'weights.pth'
    path.touch()
    network = network_of('resnet8', str(path), 3, 32)
    assert network.is_pretrained
    assert network.model['backbone']['init_cfg']['checkpoint'] == str(path)
    assert network.model['backbone']['depth'] == 8


@pytest.mark.parametrize(
    ('name', 'weights', 'size', 'kind', 'words'),
    [
        ('resnet9', NO_WEIGHTS, 32, MissingFileError, 'resnet9'),
        ('resnet8', NO_WEIGHTS, 224, ConfigError, '--size'),
        ('resnet8', 'nowhere.pth', 32, MissingFileError, 'nowhere'),
        ('resnet8', 'pretrained', 32, ConfigError, 'timm'),
        ('timm:nothing', NO_WEIGHTS, 32, ConfigError, 'nothing'),
        ('timm:test_vit', NO_WEIGHTS, 160, ConfigError, 'convolutional'),
        ('timm:test_vit', NO_WEIGHTS, 8, ConfigError, '8 pixels'),
    ],
)
def test_refused(name, weights, size, kind, words):
    with pytest.raises(kind, match=words):
        network_of(name, weights, 3, size)


@pytest.mark.parametrize('where', ['init_cfg', 'pretrained'])
def test_weights_that_are_given_take_the_place_of_all_that_a_config_names(
    tmp_path, write_config, resnet_config, build_model, where
):
    for name, value in (('old', 1.0), ('new', 2.0)):
        model = build_model(resnet_config(in_channels=3))
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, value)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / f'{name}.pth')
    old, new = (str(tmp_path / f'{name}.pth') for name in ('old', 'new'))
    named = old if where == 'pretrained' else dict(type='Pretrained', checkpoint=old)
    config = dict(model=dict(resnet_config(in_channels=3), **{where: named}))
    path = str(write_config(tmp_path / 'a.py', config))
    for weights, value in ((new, 2.0), (None, 1.0)):
        network = built(network_of(path, weights, 10, 8), tmp_path)
        network.init_weights()
        assert (next(network.backbone.parameters()) == value).all(), weights
