import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler

from mmbss.datasets import Digits
from mmbss.engine.fingerprint import compare, settings_of
from mmbss.engine.spellings import Spellings

BASE = dict(
    model=dict(
        type='mmbss.Distiller',
        backbone=dict(type='mmbss.CIFARResNet', depth=8),
        losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
    ),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    param_scheduler=[dict(type='MultiStepLR', milestones=[1])],
    train_dataloader=dict(
        batch_size=8,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='mmbss.Digits', split='train', pipeline=[dict(type='PackInputs')]),
    ),
)


def with_change(path, value):
    config = copy.deepcopy(BASE)
    *parents, key = path.split('.')
    node = config
    for parent in parents:
        node = node[int(parent) if isinstance(node, list) else parent]
    node[key] = value
    return Config(config)


def changes(before, now):
    return compare(settings_of(before), settings_of(now), Spellings(now).are_same)


@pytest.mark.parametrize(
    ('path', 'value', 'is_same'),
    [
        ('train_dataloader.drop_last', False, True),
        ('train_dataloader.drop_last', True, False),
        ('train_dataloader.sampler.round_up', True, True),
        ('train_dataloader.sampler.round_up', False, False),
        ('train_dataloader.sampler.type', DefaultSampler, True),
        ('train_dataloader.sampler.type', 'mmengine.DefaultSampler', True),
        ('train_dataloader.sampler.type', 'InfiniteSampler', False),
        ('train_dataloader.dataset.type', Digits, True),
        ('train_dataloader.dataset.type', 'mmpretrain.Digits', False),
        ('train_dataloader.dataset.pipeline.0.data_keys', ['x'], False),
        ('optim_wrapper.type', 'OptimWrapper', True),
        ('optim_wrapper.type', 'AmpOptimWrapper', False),
        ('optim_wrapper.accumulative_counts', 1, True),
        ('optim_wrapper.optimizer.type', torch.optim.SGD, True),
        ('optim_wrapper.optimizer.type', torch.optim.Adam, False),
        ('optim_wrapper.optimizer.nesterov', False, True),
        ('optim_wrapper.optimizer.momentum', 0.0, True),
        ('optim_wrapper.optimizer.momentum', 0.9, False),
        ('param_scheduler.0.gamma', 0.5, False),
        ('model.losses.loss_kd.temperature', 1.5, False),
        ('model.losses.loss_kd.nothing', 1.5, False),
        ('model.losses.loss_other', dict(type='mmbss.KDLoss'), False),
    ],
)
def test_another_way_to_write_the_same_is_no_change(path, value, is_same):
    plain, other = Config(copy.deepcopy(BASE)), with_change(path, value)
    for before, now in ((plain, other), (other, plain)):
        assert (not any(changes(before, now))) == is_same


def test_names_out_of_a_file_are_looked_up_nowhere():
    before = settings_of(Config(BASE)) | {'optim_wrapper.optimizer.type': "'antigravity.SGD'"}
    found = compare(before, settings_of(Config(BASE)), Spellings(Config(BASE)).are_same)
    assert len(found.refused) == 1
