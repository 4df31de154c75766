import io
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import datetime
from enum import Enum, IntEnum
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import save_checkpoint
from torch import nn

from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.files.storable import plain, storable
from mmbss.engine.files.torch_files import read_torch_file
from mmbss.engine.finite import named_tensors
from mmbss.registry import HOOKS

Pair = namedtuple('Pair', 'a b')
Order = IntEnum('Order', 'FIRST')
Colour = Enum('Colour', 'RED')


def written_and_read(value):
    with io.BytesIO() as file:
        torch.save(storable(dict(meta=dict(own=value))), file)
        size = file.tell()
        file.seek(0)
        return read_torch_file(file, size)['meta']['own']


def test_numpy_becomes_plain_wherever_it_is():
    value = plain(dict(a=[np.int64(3), (np.arange(2),)], b={np.str_('x')}, c=np.array(['y'])))
    assert type(value['a'][0]) is int
    assert torch.equal(value['a'][1][0], torch.arange(2))
    assert [type(item) for item in value['b']] == [str]
    assert value['c'] == ['y']


@pytest.mark.parametrize(
    ('value', 'wanted'),
    [
        (np.float32(0.5), 0.5),
        (np.zeros((), '>f4'), torch.tensor(0.0)),
        (np.arange(3, dtype='u4')[::-1], torch.tensor([2, 1, 0], dtype=torch.uint32)),
        (np.array([None, 'a']), [None, 'a']),
        ({np.int64(3): 1}, {3: 1}),
        (Path('a/b'), 'a/b'),
        (deque([np.int64(1)], 3), [1]),
        (range(2), [0, 1]),
        (frozenset('a'), {'a'}),
        (Pair(1, np.int64(2)), (1, 2)),
        (defaultdict(list, a=[1]), dict(a=[1])),
        (Order.FIRST, 1),
        (Counter('aab'), Counter('aab')),
        (OrderedDict(a=np.int64(1)), OrderedDict(a=1)),
        ([b'', b'a', None, 1 << 80, -1, 'ü', {1.5}], [b'', b'a', None, 1 << 80, -1, 'ü', {1.5}]),
        (nn.Parameter(torch.ones(2)), torch.ones(2)),
        (torch.zeros(1).expand(3), torch.zeros(3)),
        (torch.tensor([1j]).conj(), torch.tensor([-1j])),
        (torch.ones(2).to(torch.float8_e4m3fn), torch.ones(2).to(torch.float8_e4m3fn)),
        (torch.Size([2]), torch.Size([2])),
    ],
)
def test_what_is_like_plain_values_can_be_read_again(value, wanted):
    read = written_and_read(value)
    assert type(read) is type(wanted)
    if isinstance(wanted, torch.Tensor):
        assert (read.dtype, read.tolist()) == (wanted.dtype, wanted.tolist())
    else:
        assert read == wanted


def circle():
    result = []
    result.append(result)
    return result


@pytest.mark.parametrize(
    'value',
    [
        datetime(2020, 1, 1),
        Colour.RED,
        slice(3),
        1j,
        lambda: 1,
        dict,
        nn.Linear(1, 1),
        torch.eye(2).to_sparse(),
        torch.empty(2, device='meta'),
        np.zeros(1, 'g'),
        {(1, 2): 3},
        1 << 4000,
        circle(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_read_is_refused_with_its_key(value):
    with pytest.raises(ValueError, match=r'meta\.own\.1.* could not be read again'):
        storable(dict(meta=dict(other=1, own=[0, value])))


def test_what_is_plain_is_not_copied_and_keeps_the_versions_of_modules():
    state = nn.BatchNorm1d(2).state_dict()
    content = dict(state_dict=state, optimizer=dict(lr=0.1, state=[dict(a=torch.ones(1))]))
    assert storable(content) is content
    state['own'] = np.int64(1)
    changed = plain(state)
    assert changed is not state
    assert changed._metadata == state._metadata
    assert list(changed) == list(state)


def test_functions_of_schedulers_are_left_out():
    states = [dict(function=circle, step=3)]
    for schedulers in (states, dict(a=states)):
        stored = storable(dict(param_schedulers=schedulers))['param_schedulers']
        assert (stored if schedulers is states else stored['a']) == [dict(step=3)]


def test_nothing_is_written_of_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match='own'):
        save_checkpoint(dict(own=1j), str(tmp_path / 'a.pth'))
    assert not list(tmp_path.iterdir())


@HOOKS.register_module()
class StoringHook(Hook):
    """Stores something of its own after all others."""

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['own'] = Path('a')
        runner.message_hub.update_info('own', deque([np.int64(runner.epoch)]))


def test_a_run_with_one_cycle_resumes_bit_equal(make_runner, resnet_config, run_settings, tmp_path):
    schedule = dict(type='OneCycleLR', eta_max=0.1, total_steps=3, by_epoch=True)
    schedule['convert_to_iter_based'] = True

    def train(folder, **settings):
        make_runner(
            resnet_config(),
            work_dir=tmp_path / folder,
            epochs=3,
            param_scheduler=[schedule],
            default_hooks=dict(
                step_seed=dict(type='mmbss.StepSeedHook'),
                checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1),
            ),
            custom_hooks=[dict(type='mmbss.StoringHook')],
            **settings,
        ).train()
        return read_checkpoint(tmp_path / folder / 'epoch_3.pth')

    whole = train('a')
    resumed = train('b', resume=True, load_from=str(tmp_path / 'a' / 'epoch_1.pth'))
    assert whole['own'] == 'a'
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        one, other = (dict(named_tensors(content[key])) for content in (whole, resumed))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole['param_schedulers'] == resumed['param_schedulers']
    assert whole['optimizer']['param_groups'] == resumed['optimizer']['param_groups']
