import pytest
import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmbss.datasets import AugmentingDataPreprocessor
from mmbss.distillers import BSSDistiller
from mmbss.distillers.classifiers import (
    check_normalisation,
    check_single_label_logits,
    load_model_config,
    num_classes,
    pixel_bounds,
    plain_classifier,
)
from mmbss.distillers.sources import load_source
from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS

CPU = torch.device('cpu')


def test_plain_classifier_strips_what_a_distiller_adds(resnet_config):
    student = resnet_config(train_cfg=dict(augments=[]))
    distiller = dict(student, type='mmbss.BSSDistiller', teacher={}, losses={}, boundary={})
    assert plain_classifier(distiller) == dict(student, type='mmpretrain.ImageClassifier')
    assert 'teacher' in distiller


def test_plain_classifier_strips_what_a_distiller_of_ones_own_adds(resnet_config, monkeypatch):
    class TauDistiller(BSSDistiller):
        def __init__(self, tau=1.0, head=None, **kwargs):
            super().__init__(head=head, **kwargs)

    monkeypatch.setitem(MODELS.module_dict, 'TauDistiller', TauDistiller)
    student = resnet_config()
    for kind in ('mmbss.TauDistiller', TauDistiller):
        distiller = dict(student, type=kind, teacher={}, boundary={}, tau=2.0)
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
    model = load_model_config('mmbss::baseline/resnet26_1xb256-80e_cifar10.py')
    assert model['backbone']['depth'] == 26


def test_missing_config_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"^teacher\.config: no file 'no/such\.py'"):
        load_source('no/such.py', 'a.pth', None)
    with pytest.raises(FileNotFoundError, match=r"^config: no file 'no/such\.py'"):
        load_model_config('no/such.py')


def test_missing_config_in_a_package_is_named():
    with pytest.raises(Exception, match='no_such'):
        load_model_config('mmpretrain::resnet/no_such.py')


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


class Unit(ClsDataPreprocessor):
    """Divides by 255 before it normalises, if it does."""

    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'].float() / 255), training)


class Bare(BaseDataPreprocessor):
    def forward(self, data, training=False):
        return dict(data, inputs=data['inputs'].float() / 255)


class Listed(BaseDataPreprocessor):
    """Takes what mmpretrain's own way to collate gives, and has its normalisation by itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.tensor([1.0, 2.0, 3.0]).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor([4.0, 5.0, 6.0]).view(-1, 1, 1))

    def forward(self, data, training=False):
        assert all(sample.gt_label == 0 for sample in data['data_samples'])
        return dict(inputs=(torch.stack([*data['inputs']]) - self.mean) / self.std)


class ListsAlone(Listed):
    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'] + []), training)


COLOUR = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0])
MIXING = dict(augments=dict(type='Mixup', alpha=1.0))


@pytest.mark.parametrize(
    'preprocessor',
    [
        ClsDataPreprocessor(),
        ClsDataPreprocessor([77.9], [95.9], pad_size_divisor=32, pad_value=7),
        ClsDataPreprocessor(**COLOUR, to_rgb=True),
        ClsDataPreprocessor([1.0] * 5, [2.0] * 5),
        ClsDataPreprocessor(**COLOUR, to_onehot=True, num_classes=10),
        ClsDataPreprocessor(**COLOUR, to_onehot=True),
        AugmentingDataPreprocessor(2, 0.5, **COLOUR, num_classes=10, batch_augments=MIXING),
        BaseDataPreprocessor(),
        ImgDataPreprocessor(**COLOUR, bgr_to_rgb=True),
        Listed(),
        ListsAlone(),
    ],
)
def test_a_preprocessor_that_normalises_is_known(preprocessor):
    check_normalisation(preprocessor)
    check_normalisation(preprocessor, keeps_places=True)


class Halves(ClsDataPreprocessor):
    """Images of half the size."""

    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'][..., ::2, ::2]), training)


class Fails(ClsDataPreprocessor):
    def forward(self, data, training=False):
        raise RuntimeError('too small an image')


def test_a_size_counts_where_pixels_have_to_keep_their_places():
    check_normalisation(Halves(**COLOUR))
    with pytest.raises(ConfigError, match='Halves does something else'):
        check_normalisation(Halves(**COLOUR), keeps_places=True)


def test_what_a_preprocessor_says_is_named():
    with pytest.raises(ConfigError, match='too small an image'):
        check_normalisation(Fails())


@pytest.mark.parametrize(
    'preprocessor', [Unit(), Unit([0.5] * 3, [0.25] * 3), Bare(), nn.Identity()]
)
def test_a_preprocessor_that_does_something_else_is_refused(preprocessor):
    with pytest.raises(ConfigError, match=f'^data_preprocessor: {type(preprocessor).__name__} '):
        check_normalisation(preprocessor)
    with pytest.raises(ConfigError, match='take ClsDataPreprocessor'):
        pixel_bounds(preprocessor, CPU)


def test_what_is_no_tensor_is_no_normalisation():
    preprocessor = Bare()
    preprocessor.mean, preprocessor.std = [0.0], [255.0]
    with pytest.raises(ConfigError, match='take ClsDataPreprocessor'):
        check_normalisation(preprocessor)


def test_pixels_are_normalised():
    assert pixel_bounds(ClsDataPreprocessor(), CPU) == (0.0, 255.0)
    bounds = pixel_bounds(ClsDataPreprocessor([120.0], [60.0]), CPU)
    assert bounds == (-2.0, 2.25)
