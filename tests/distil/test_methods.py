import pytest

from mmbss.distil.methods import METHODS, check_methods, settings_to_try
from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS
from mmbss.studies.study import is_name


def test_first_settings_of_all_come_first():
    settings = settings_to_try([*METHODS], 2)
    methods = [each.method for each in settings]
    assert methods[: len(METHODS)] == [*METHODS]
    assert methods[len(METHODS) :] == [name for name in METHODS if name != 'labels']


@pytest.mark.parametrize('name', METHODS)
def test_settings_can_be_built_and_told_apart(name):
    settings = settings_to_try([name], 9)
    assert len({each.name for each in settings}) == len(settings)
    assert all(is_name(each.name) for each in settings)
    for each in settings:
        for loss in each.model.get('losses', {}).values():
            # the share is the distiller's to read
            MODELS.build({key: value for key, value in loss.items() if key != 'share'})


def test_weights_of_labels_and_distillation_sum_to_one():
    for each in [*settings_to_try(['kd'], 9), *METHODS['bss'][1:]]:
        weight = each.model['losses']['loss_kd']['loss_weight']
        assert each.model['head']['loss']['loss_weight'] + weight == pytest.approx(1.0)


def test_labels_are_always_there():
    assert check_methods(['bss']) == ['labels', 'bss']
    with pytest.raises(ConfigError, match='bsss'):
        check_methods(['bsss'])
