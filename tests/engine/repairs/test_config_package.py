import pytest
from mmengine.config import Config


def test_configs_inherit_from_the_package():
    config = Config.fromstring(
        "_base_ = 'mmbss::baseline/resnet14_1xb64-30e_digits.py'\n"
        'model = dict(backbone=dict(depth=20))',
        '.py',
    )
    assert config.model.backbone.depth == 20
    assert config.train_dataloader.dataset.type == 'mmbss.Digits'


def test_several_bases_of_the_package_are_merged():
    config = Config.fromstring(
        "_base_ = ['mmbss::_base_/models/cifar_resnet8.py', "
        "'mmbss::_base_/schedules/digits_30e.py']",
        '.py',
    )
    assert config.train_cfg.max_epochs == 30
    assert config.model.backbone.depth == 8


def test_missing_config_of_the_package_is_named():
    with pytest.raises(Exception, match='no_such_config'):
        Config.fromstring("_base_ = 'mmbss::baseline/no_such_config.py'", '.py')
