import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.models import count_parameters, evaluation_mode, load_strictly, unwrap


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout())


def test_the_module_in_a_wrapper_is_found_and_others_are_their_own(model, monkeypatch):
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    assert unwrap(wrapper) is model
    assert unwrap(model) is model
    model.module = nn.Identity()  # a model that calls a part of itself so
    assert unwrap(model) is model


def test_all_parameters_are_counted_and_no_buffers(model):
    model[0].requires_grad_(False)
    assert count_parameters(model) == 3 * 2 + 2 + 2 + 2


def test_weights_that_fit_are_loaded(model):
    state = {key: torch.ones_like(value) for key, value in model.state_dict().items()}
    load_strictly(model, state, 'a.pth does not fit b.py')
    assert (model[0].weight == 1).all()


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (lambda state: state.pop('0.bias'), '0.bias'),
        (lambda state: state.update(head=torch.ones(1)), 'head'),
        (lambda state: state.update({'0.weight': torch.ones(2, 4)}), '0.weight'),
        (lambda state: state.update({'0.weight': 'text'}), '0.weight'),
    ],
    ids=['missing', 'left over', 'shape', 'no tensor'],
)
def test_weights_that_do_not_fit_are_refused_with_their_names(model, change, named):
    state = model.state_dict()
    change(state)
    with pytest.raises(ConfigError, match=r'^a\.pth does not fit b\.py: ') as error:
        load_strictly(model, state, 'a.pth does not fit b.py')
    assert named in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('prefix', ['module.', 'model.', 'net.student.'])
def test_the_prefix_with_which_weights_would_fit_is_named(model, prefix):
    state = {f'{prefix}{name}': value for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError, match=f"without '{prefix}' before its names") as error:
        load_strictly(model, state, 'a.pth does not fit b.py')
    assert len(str(error.value)) < 500


def test_every_module_goes_back_into_its_own_mode(model):
    model.train()
    model[1].eval()
    inside = []
    with pytest.raises(AttributeError), evaluation_mode(model):
        inside.append([module.training for module in model.modules()]).fails()
    assert inside == [[False] * 4]
    assert [module.training for module in model] == [True, False, True]
    assert model.training
