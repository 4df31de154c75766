import pytest
import torch
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import load_state_dict


@pytest.fixture
def model(build_model, resnet_config):
    return build_model(resnet_config())


@pytest.fixture
def state(build_model, resnet_config):
    torch.manual_seed(1)
    return {
        name: value if value.dtype == torch.long else torch.randn_like(value)
        for name, value in build_model(resnet_config()).state_dict().items()
    }


WRONG = {
    'a prefix': (
        lambda state: {f'net.model.{name}': value for name, value in state.items()},
        r"without 'net\.model\.' before its names 44 of 44 would fit",
    ),
    'within another': (lambda state: dict(model=state, epoch=3), r"lie within 'model'"),
    'a part': (
        lambda state: {
            name.removeprefix('backbone.'): value
            for name, value in state.items()
            if name.startswith('backbone.')
        },
        r'the backbone alone, of which 42 would fit.*Pretrained',
    ),
    'another library': (
        lambda state: {f'blocks_{index}': torch.zeros(2) for index in range(50)},
        r'44 missing .*50 left over \(blocks_0, blocks_1, blocks_2 and 47 more\)$',
    ),
    'no weights': (lambda state: {}, '44 missing'),
    'another width': (
        lambda state: {name: value.new_zeros(7, 7) for name, value in state.items()},
        r'44 of another shape \(backbone\.conv1\.weight is \(7, 7\) instead of',
    ),
}


@pytest.mark.parametrize(('width', 'num_classes'), [(4, 10), (4, 7)])
def test_counters_and_the_bias_of_a_head_are_no_weights_that_fit(
    width, num_classes, model, build_model, resnet_config, tmp_path
):
    other = build_model(resnet_config(width=width, num_classes=num_classes))
    torch.save(other.state_dict(), tmp_path / 'wide.pth')
    with pytest.raises(ValueError, match=r'none of the weights fit.*of another shape'):
        load_checkpoint(model, str(tmp_path / 'wide.pth'))


@pytest.mark.parametrize('kind', WRONG)
def test_weights_of_which_none_fit_are_refused(kind, model, state, tmp_path):
    change, message = WRONG[kind]
    torch.save(change(state), tmp_path / 'wrong.pth')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f'none of the weights fit.*{message}') as error:
        load_checkpoint(model, str(tmp_path / 'wrong.pth'))
    assert len(str(error.value)) < 600
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_how_many_fit_is_said_where_not_all_do(model, state, caplog, capfd):
    state['head.fc.weight'] = torch.zeros(5, 8)
    del state['head.fc.bias']
    load_state_dict(model, state)
    said = capfd.readouterr()
    assert '42 of 44 weights of the ImageClassifier loaded: 1 missing (head.fc.bias); 1 of' in (
        said.out + said.err
    )


def test_nothing_is_said_where_all_do(model, state, capfd):
    load_state_dict(model, {f'{name}': value for name, value in state.items()})
    said = capfd.readouterr()
    assert 'weights of' not in said.out + said.err
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_prefix_of_several_processes_is_left_out_as_before(model, state, tmp_path):
    torch.save({f'module.{name}': value for name, value in state.items()}, tmp_path / 'ddp.pth')
    load_checkpoint(model, str(tmp_path / 'ddp.pth'))
    assert torch.equal(model.head.fc.weight, state['head.fc.weight'])


def test_a_network_that_renames_what_it_is_given_decides_itself():
    class Renaming(torch.nn.Linear):
        def __init__(self):
            super().__init__(2, 1)
            self.register_load_state_dict_pre_hook(self.rename)

        def rename(self, module, state, *args):
            for name in list(state):
                state[name.removeprefix('old_')] = state.pop(name)

    model = Renaming()
    load_state_dict(model, dict(old_weight=torch.ones(1, 2), old_bias=torch.ones(1)))
    assert model.weight.tolist() == [[1.0, 1.0]]


def test_a_pretrained_part_without_its_prefix_is_refused(
    build_model, resnet_config, state, tmp_path
):
    torch.save(dict(state_dict=state), tmp_path / 'whole.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'whole.pth'))
    config = resnet_config()
    config['backbone']['init_cfg'] = init
    with pytest.raises(ValueError, match=r"prefix='backbone\.'"):
        build_model(config)
    init['prefix'] = 'backbone.'
    model = build_model(config)
    assert torch.equal(model.backbone.conv1.weight, state['backbone.conv1.weight'])
