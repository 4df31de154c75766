import random

import numpy as np
import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.engine.finite import dense
from mmbss.engine.trial.batches import batch_sizes
from mmbss.engine.trial.training import try_training


@pytest.fixture
def runner(make_runner, resnet_config):
    def runner(**changes):
        return make_runner(resnet_config(), epochs=1, **changes)

    return runner


def test_nothing_is_learnt_and_no_random_number_used_up(runner):
    runner = runner()
    runner.train_dataloader  # noqa: B018 - the data are loaded with random numbers of their own
    weights = {key: value.clone() for key, value in runner.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    try_training(runner)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert all(torch.equal(weights[k], v) for k, v in runner.model.state_dict().items())
    assert runner.model.training


def test_buffers_of_any_kind_are_left_as_they_were(runner):
    runner = runner()
    kinds = dict(
        expanded=torch.zeros(3).expand(3, 3),
        small=torch.zeros(2).to(torch.float8_e4m3fn),
        sparse=torch.eye(2).to_sparse(),
        nan=torch.tensor([torch.nan]),
    )
    for name, buffer in kinds.items():
        runner.model.register_buffer(name, buffer)
    used = runner.model.head.loss

    def loss(*args, **kwargs):  # as one that is counted
        for name in ('expanded', 'small', 'sparse'):
            dense(getattr(runner.model, name)).untyped_storage().fill_(1)
        return used(*args, **kwargs)

    runner.model.head.loss = loss
    try_training(runner)
    assert not any(dense(kinds[name]).float().abs().sum() for name in ('expanded', 'small'))
    assert torch.equal(kinds['sparse'].to_dense(), torch.eye(2))


def test_labels_beyond_the_classes_are_refused(runner, tmp_path):
    file = tmp_path / 'data.npz'
    np.savez(file, images=np.zeros((64, 8, 8), np.uint8), labels=np.arange(64) % 12)
    data = dict(type='mmbss.ArrayDataset', data_file=str(file))
    runner = runner()
    runner._train_dataloader['dataset'] = data
    with pytest.raises(ValueError, match=r'labels 0 to 11, .* set .*num_classes=12'):
        try_training(runner)


def test_a_training_without_a_single_batch_is_refused(runner):
    runner = runner()
    runner._train_dataloader.update(batch_size=500, drop_last=True)
    with pytest.raises(ValueError, match='batch_size=500 leaves no batch of 192 samples'):
        try_training(runner)


def test_a_config_without_a_training_is_refused(runner):
    nothing = dict(train_cfg=None, train_dataloader=None, optim_wrapper=None, param_scheduler=None)
    with pytest.raises(ValueError, match='there is nothing to train'):
        try_training(runner(**nothing))


# ---------------------------------------------------------------- features


@pytest.fixture
def feature_runner(make_runner, make_teacher, resnet_config):
    """A runner of a student with 8 channels in layer2, whose teacher has 4; weights start at 0."""

    def feature_runner(loss, **teacher):
        layer = 'backbone.layer2'
        loss = dict(dict(student=layer, teacher=layer, loss_weight=0.0), **loss)
        model = dict(
            resnet_config(width=4),
            type='mmbss.Distiller',
            teacher=make_teacher(resnet_config(), **teacher),
            losses=dict(loss_feature=loss),
        )
        return make_runner(model, epochs=1)

    return feature_runner


@pytest.mark.parametrize('acceleration', [{}, dict(fuse_bn=True, precision='bfloat16')], ids=str)
@pytest.mark.parametrize(
    ('loss', 'message'),
    [
        (dict(type='mmbss.HintLoss'), 'set student_channels=8 and teacher_channels=4'),
        (
            dict(
                type='mmbss.FSPLoss',
                student=[['backbone.layer1', 'backbone.layer2']],
                teacher=[['backbone.layer1', 'backbone.layer2']],
            ),
            r'student is \(N, 4, 8, 8\).*teacher \(N, 2, 8, 8\): .*equally many channels',
        ),
        (
            dict(type='mmbss.AttentionLoss', student='head.fc:input'),
            r'head.fc:input of the student is \(N, 16\), .* attention is defined on maps',
        ),
    ],
    ids=['hint', 'fsp', 'attention'],
)
def test_features_that_do_not_fit_are_refused_before_they_count(
    feature_runner, loss, message, acceleration
):
    runner = feature_runner(loss, acceleration=acceleration)
    with pytest.raises(ValueError, match=message):
        try_training(runner)


def test_features_that_fit_leave_the_networks_as_they_are(feature_runner):
    loss = dict(type='mmbss.HintLoss', student_channels=8, teacher_channels=4)
    runner = feature_runner(loss, acceleration=dict(fuse_bn=True))
    model = runner.model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try_training(runner)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training


def test_images_that_do_not_pass_the_teacher_are_refused(make_runner, make_teacher, resnet_config):
    teacher = make_teacher(resnet_config(in_channels=3))
    model = dict(resnet_config(), type='mmbss.Distiller', teacher=teacher)
    with pytest.raises(ValueError, match=r'^model\.teacher: RuntimeError: .* to have 3 channels'):
        try_training(make_runner(model, epochs=1))


# ---------------------------------------------------------------- any classifier, and bugs


@pytest.mark.parametrize('bug', ['backbone', 'dataset'])
def test_a_bug_keeps_its_traceback(runner, bug, monkeypatch):
    def broken(*args):
        return {}['interval']

    runner = runner()
    owner, name = dict(
        backbone=(runner.model.backbone, 'forward'),
        dataset=(type(runner.train_dataloader.dataset), '__getitem__'),
    )[bug]
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(KeyError, match='interval'):
        try_training(runner)


def test_a_model_tries_its_terms_itself_in_training_mode(runner, monkeypatch):
    runner = runner()
    tried = []

    def try_terms(inputs, data_samples):
        assert runner.model.training
        assert torch.is_grad_enabled()
        tried.append((inputs.shape, len(data_samples)))
        return runner.model.loss(inputs, data_samples)

    monkeypatch.setattr(runner.model, 'try_terms', try_terms, raising=False)
    try_training(runner)
    assert tried == [((2, 1, 8, 8), 2)]


def test_labels_of_several_classes_are_left_alone(runner, monkeypatch):
    runner = runner()
    dataset = runner.train_dataloader.dataset
    monkeypatch.setattr(type(dataset), 'metainfo', {})
    monkeypatch.setattr(type(dataset), 'get_gt_labels', lambda self: [[1, 2], [3]])
    try_training(runner)


# ---------------------------------------------------------------- as in training


@pytest.mark.parametrize(
    ('batch_size', 'count', 'sizes'),
    [
        (64, 192, [2]),
        (13, 192, [3, 2]),
        (13, 300, [3, 1]),
        (1, 5, [1]),
        (64, 66, [2]),
        (64, 67, [2, 3]),
    ],
    ids=str,
)
def test_batches_of_one_and_odd_ones_are_tried_where_there_are_any(
    runner, batch_size, count, sizes, monkeypatch
):
    runner = runner()
    runner._train_dataloader['dataset']['indices'] = count
    runner._train_dataloader['batch_size'] = batch_size
    tried = []
    loss = runner.model.loss
    monkeypatch.setattr(runner.model, 'loss', lambda x, y: tried.append(len(x)) or loss(x, y))
    try_training(runner)
    assert tried == sizes
    runner.train_dataloader.sampler  # noqa: B018 - is not used up
    assert batch_sizes(runner.train_dataloader) == sizes


def test_a_training_without_end_has_no_last_batch(runner):
    runner = runner()
    runner._train_dataloader.update(batch_size=5, sampler=dict(type='InfiniteSampler'))
    assert batch_sizes(runner.train_dataloader) == [3]


@pytest.mark.parametrize('batch_size', [191, 1])
def test_a_batch_of_one_that_batch_norm_refuses_is_refused_before(
    make_runner, resnet_config, batch_size
):
    model = resnet_config()
    model['neck'] = [
        dict(type='GlobalAveragePooling'),
        dict(
            type='LinearNeck', in_channels=8, out_channels=8, gap_dim=0, norm_cfg=dict(type='BN1d')
        ),
    ]
    runner = make_runner(model, epochs=1)
    runner._train_dataloader['batch_size'] = batch_size
    with pytest.raises(
        ConfigError, match=rf'batch_size={batch_size} .*of one image.*drop_last=True'
    ):
        try_training(runner)
    runner = make_runner(model, epochs=1)
    runner._train_dataloader.update(batch_size=191, drop_last=True)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    try_training(runner)
    after = runner.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in runner.model.parameters())


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (
            dict(type='LeViTClsHead', in_channels=8, distillation=True),
            r'NotImplementedError.*model\.head\.distillation=True',
        ),
        (
            dict(loss=dict(type='CrossEntropyLoss', use_sigmoid=True)),
            r'AssertionError: assert .*dim.*use_sigmoid',
        ),
        (
            dict(loss=dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0])),
            r'weight.*class_weight',
        ),
        (
            dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=3)),
            r'num_classes',
        ),
        (
            dict(type='EfficientFormerClsHead', in_channels=8, distillation=True),
            r'NotImplementedError.*distillation=True',
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_fails_in_training_alone_is_refused_before(make_runner, resnet_config, head, message):
    model = resnet_config()
    model['head'].update(head)
    with pytest.raises(ConfigError, match=message):
        try_training(make_runner(model, epochs=1))


def test_mixed_labels_of_another_number_of_classes_are_refused(make_runner, resnet_config):
    model = resnet_config(train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)))
    runner = make_runner(model, epochs=1)
    runner.model.data_preprocessor.num_classes = 12
    with pytest.raises(ConfigError, match=r'data_preprocessor\.num_classes=12'):
        try_training(runner)


def test_accuracy_of_mixed_labels_is_refused(make_runner, resnet_config):
    model = resnet_config(train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)))
    model['head'].update(cal_acc=True)
    with pytest.raises(ConfigError, match=r'^model\.head\.cal_acc=True counts .* mixes labels'):
        try_training(make_runner(model, epochs=1))


def test_a_model_of_which_nothing_learns_is_refused(runner):
    runner = runner()
    runner.model.requires_grad_(False)
    with pytest.raises(ConfigError, match='no parameter of it learns'):
        try_training(runner)


def test_mixing_that_begins_later_is_refused_where_labels_must_be_hard(make_runner, bss_settings):
    recipe = dict(action_epoch=2, batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)))
    switch = dict(type='SwitchRecipeHook', schedule=[recipe])
    runner = make_runner(bss_settings('unused')['model'], custom_hooks=[switch], epochs=1)
    with pytest.raises(ConfigError, match=r'loss_bss needs one hard label .* from epoch 2 on'):
        try_training(runner)
