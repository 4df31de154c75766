import pytest
import torch

from mmbss.distillers import Distiller
from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS
from mmbss.teachers.classifiers import (
    check_single_label_logits,
    load_model_config,
    num_classes,
    plain_classifier,
    read_model_file,
)
from mmbss.teachers.sources import load_source

CPU = torch.device('cpu')


def test_plain_classifier_strips_what_a_distiller_adds(resnet_config):
    student = resnet_config(train_cfg=dict(augments=[]))
    distiller = dict(student, type='mmbss.Distiller', teacher={}, losses={})
    assert plain_classifier(distiller) == dict(student, type='mmpretrain.ImageClassifier')
    assert 'teacher' in distiller


def test_plain_classifier_strips_what_a_distiller_of_ones_own_adds(resnet_config, monkeypatch):
    class TauDistiller(Distiller):
        def __init__(self, tau=1.0, head=None, **kwargs):
            super().__init__(head=head, **kwargs)

    monkeypatch.setitem(MODELS.module_dict, 'TauDistiller', TauDistiller)
    student = resnet_config()
    for kind in ('mmbss.TauDistiller', TauDistiller):
        distiller = dict(student, type=kind, teacher={}, losses={}, tau=2.0)
        assert plain_classifier(distiller) == dict(student, type='mmpretrain.ImageClassifier')


@pytest.mark.parametrize('kind', ['mine.NotImported', 'mmbss.MLP'])
def test_what_is_registered_as_no_classifier_loses_the_common_keys(resnet_config, kind):
    student = resnet_config()
    plain = plain_classifier(dict(student, type=kind, teacher={}, tau=2.0))
    assert plain == dict(student, type='mmpretrain.ImageClassifier', tau=2.0)


def test_plain_classifier_leaves_others_as_they_are(resnet_config):
    config = resnet_config()
    assert plain_classifier(config) == config
    assert plain_classifier(config) is not config


def test_file_gives_its_data_preprocessor_to_the_model(tmp_path, write_config, resnet_config):
    preprocessor = dict(mean=[1.0], std=[2.0])
    path = write_config(
        tmp_path / 'a.py', dict(model=resnet_config(), data_preprocessor=preprocessor)
    )
    assert load_model_config(str(path)) == dict(resnet_config(), data_preprocessor=preprocessor)


def test_the_models_own_data_preprocessor_wins(tmp_path, write_config, resnet_config):
    own = dict(mean=[1.0], std=[2.0])
    model = resnet_config(data_preprocessor=own)
    path = write_config(tmp_path / 'a.py', dict(model=model, data_preprocessor=dict(mean=[9.0])))
    assert load_model_config(str(path))['data_preprocessor'] == own


def test_mmpretrains_config_is_found_by_its_package():
    model = load_model_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py')
    assert model['backbone']['type'] == 'ResNet_CIFAR'
    assert model['data_preprocessor']['mean'] == [125.307, 122.961, 113.8575]


def test_own_config_is_found_by_its_package():
    name = 'mmbss::baseline/resnet26_1xb256-80e_cifar10.py'
    model = load_model_config(name)
    assert model['backbone']['depth'] == 26
    # in which types are looked up, and results know it by
    assert model['_scope_'] == 'mmbss'
    assert read_model_file(name).filename == name


def test_missing_config_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"^teacher\.config: no file 'no/such\.py'"):
        load_source('no/such.py', 'a.pth', None)
    with pytest.raises(FileNotFoundError, match=r"^config: no file 'no/such\.py'"):
        load_model_config('no/such.py')


def test_missing_config_in_a_package_is_named():
    with pytest.raises(Exception, match='no_such'):
        load_model_config('mmpretrain::resnet/no_such.py')


def test_config_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'teacher.py').write_text('model = dict(')
    with pytest.raises(ConfigError, match=r'^teacher\.config .*teacher\.py: SyntaxError'):
        read_model_file(str(tmp_path / 'teacher.py'), 'teacher.config')


def test_config_without_a_model_is_refused(tmp_path, write_config):
    path = write_config(tmp_path / 'a.py', dict(work_dir='x'))
    with pytest.raises(ValueError, match='defines no model'):
        load_model_config(str(path))


def test_a_class_count_is_read_from_head_or_backbone(build_model, resnet_config):
    model = build_model(resnet_config(num_classes=7))
    assert num_classes(model) == 7
    del model.head.num_classes
    assert num_classes(model) is None
    model.backbone.num_classes = 5
    assert num_classes(model) == 5
    model.backbone.num_classes = -1  # mmpretrain's way to say: no classifier in the backbone
    assert num_classes(model) is None


def test_other_models_are_refused(build_model):
    backbone = build_model(dict(type='mmbss.MLP', in_features=64))
    with pytest.raises(ValueError, match='the student must be a classifier, got MLP'):
        check_single_label_logits(backbone, 'student')
