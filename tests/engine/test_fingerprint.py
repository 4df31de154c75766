import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from torch import nn

from mmbss.datasets import Digits
from mmbss.engine.fingerprint import compare, data_digest, settings_of, structure_of, weights_digest


def state(**changes):
    torch.manual_seed(0)
    return dict(
        weight=torch.randn(3, 4, 2, 2), bias=torch.zeros(3), count=torch.tensor(1), **changes
    )


def test_weights_are_known_by_their_values_names_and_shapes():
    assert weights_digest(state()) == weights_digest(state())
    other = state()
    other['weight'][2, 3, 1, 1] += 1e-6
    renamed = {f'a.{name}': value for name, value in state().items()}
    reshaped = dict(state(), weight=state()['weight'].view(4, 3, 2, 2))
    halved = {name: value.half() for name, value in state().items()}
    digests = {weights_digest(each) for each in (state(), other, renamed, reshaped, halved)}
    assert len(digests) == 5


def test_how_weights_lie_in_memory_does_not_matter():
    layout = state()['weight'].to(memory_format=torch.channels_last)
    assert weights_digest(dict(state(), weight=layout)) == weights_digest(state())


def test_a_large_model_costs_no_more_than_a_blink(monkeypatch):
    monkeypatch.setattr('mmbss.engine.fingerprint.MOST_BYTES', 100)
    assert weights_digest(state()) == weights_digest(state())


def test_a_structure_is_that_of_types_settings_and_places():
    class Calls(nn.Module):
        def extra_repr(self):
            return f'function={(lambda: 0)}'

    def digest(*modules):
        return structure_of(nn.Sequential(*modules))

    digests = [digest(*each) for each in ([nn.ReLU()], [nn.GELU()], [nn.ReLU(), nn.GELU()])]
    digests += [digest(nn.Dropout(rate)) for rate in (0.1, 0.2)]
    assert len(set(digests)) == 5
    assert digest(nn.Linear(2, 3)) == digest(nn.Linear(2, 3))
    head = nn.Sequential(nn.Flatten())
    head.loss_module = nn.BCELoss()
    assert digest(head) == digest(nn.Sequential(nn.Flatten()))
    assert digest(Calls()) == digest(Calls()), 'wherever the function lies in memory'


def test_data_are_known_by_rows_labels_and_length():
    first, other = Digits('train', indices=96), Digits('test')
    assert data_digest(first) == data_digest(Digits('train', indices=96))
    assert data_digest(first) != data_digest(other)
    assert data_digest(first).startswith('96 samples, ')


@pytest.mark.parametrize(
    'data', [[1, 2, 3], np.zeros(3), torch.utils.data.TensorDataset(torch.ones(3))]
)
def test_of_data_that_tell_nothing_the_length_is_known(data):
    assert data_digest(data).startswith('3 samples')


def changed(before, now):
    return compare(settings_of(Config(before)), settings_of(Config(now)))


SAME = [
    (dict(work_dir='a', log_level='INFO'), dict(work_dir='b', log_level='DEBUG')),
    (dict(model=dict(a=[1, 2])), dict(model=dict(a=(1, 2)))),
    (dict(model=dict(a=None)), dict(model=dict())),
    (dict(randomness=dict(seed=1)), dict(randomness=dict(seed=2))),  # stored on its own
    (dict(model=dict(init_cfg=dict(type='Pretrained', checkpoint='a'))), dict(model=dict())),
    (dict(param_scheduler=dict(type='LinearLR')), dict(param_scheduler=[dict(type='LinearLR')])),
    (
        dict(default_hooks=dict(logger=dict(type='LoggerHook', interval=1))),
        dict(default_hooks=dict(checkpoint=dict(type=CheckpointHook, interval=5))),
    ),
    (
        dict(custom_hooks=[dict(type='ProfilerHook'), dict(type='A', n=1)]),
        dict(custom_hooks=[dict(type='A', n=1), dict(type='mmengine.EmptyCacheHook', x=1)]),
    ),
    (
        dict(test_dataloader=dict(batch_size=1)),
        dict(load_from='a', resume=True, launcher='pytorch'),
    ),
]


@pytest.mark.parametrize(('before', 'now'), SAME)
def test_what_no_result_depends_on_is_no_change(before, now):
    assert changed(before, now) == ({}, {}, {})


@pytest.mark.parametrize(
    ('before', 'now', 'kind'),
    [
        (dict(model=dict(a=1)), dict(model=dict(a=True)), 'refused'),
        (dict(model=dict(a=1)), dict(model=dict(a=2.0)), 'refused'),
        (dict(model=dict(a=[1, 0.5])), dict(model=dict(a=[1.0, 0.5])), 'said'),
        (
            dict(custom_hooks=[dict(type='A', n=1)]),
            dict(custom_hooks=[dict(type='A', n=1)] * 2),
            'refused',
        ),
        (dict(randomness=dict(seed=1)), dict(randomness=dict(seed=1, deterministic=True)), 'said'),
        (
            dict(default_hooks=dict(teacher_cache=dict(type='TeacherCacheHook', file='a'))),
            dict(default_hooks=dict(teacher_cache=dict(type='TeacherCacheHook', file='b'))),
            'said',
        ),
        (dict(custom_hooks=[dict(type='mmbss.TeacherCacheHook', file='a')]), {}, 'said'),
        (
            dict(train_dataloader=dict(dataset=dict(data_root='a'))),
            dict(train_dataloader=dict(dataset=dict(data_root='b'))),
            'said',
        ),
        (
            dict(model=dict(teacher=dict(config=[dict(config='a.onnx')]))),  # known by its content
            dict(model=dict(teacher=dict(config=[dict(config='b.onnx')]))),
            'said',
        ),
        (
            dict(model=dict(teacher=dict(config=[dict(channels='rgb'), dict()]))),
            dict(model=dict(teacher=dict(config=[dict(), dict(channels='rgb')]))),
            'refused',
        ),
        (dict(val_dataloader=dict(batch_size=1)), dict(val_dataloader=dict(batch_size=2)), 'said'),
        (dict(train_cfg=dict(val_interval=1)), dict(train_cfg=dict(val_interval=2)), 'said'),
        (
            dict(optim_wrapper=dict(accumulative_counts=1)),
            dict(optim_wrapper=dict(accumulative_counts=2)),
            'refused',
        ),
    ],
)
def test_changes_are_sorted(before, now, kind):
    changes = changed(before, now)
    assert getattr(changes, kind)
    assert sum(map(bool, changes)) == 1


def test_lists_of_lists_of_settings_are_looked_into():
    def settings(magnitude):
        choices = [[dict(type='Rotate', magnitude=magnitude)], [dict(type='Cutout', shape=4)]]
        pipeline = [dict(type='RandomChoice', transforms=choices, prob=[0.5, 0.5])]
        return settings_of(dict(train_dataloader=dict(dataset=dict(pipeline=pipeline))))

    assert not any(compare(settings(1.0), settings(1.0)))
    (line,) = compare(settings(1.0), settings(90.0)).refused.values()
    assert 'transforms.0.Rotate.magnitude=90.0 (was 1.0)' in line
