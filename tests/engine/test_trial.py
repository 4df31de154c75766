import random

import numpy as np
import pytest
import torch

from mmbss.engine.trial import try_training


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


def test_labels_beyond_the_classes_are_refused(runner, tmp_path):
    file = tmp_path / 'data.npz'
    np.savez(file, images=np.zeros((64, 8, 8), np.uint8), labels=np.arange(64) % 12)
    data = dict(type='mmbss.ArrayDataset', data_file=str(file))
    runner = runner()
    runner._train_dataloader['dataset'] = data
    with pytest.raises(ValueError, match=r'num_classes=10 is too few .* set .*num_classes=12'):
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


def test_a_model_tries_its_terms_itself(runner, monkeypatch):
    runner = runner()
    tried = []

    def try_terms(inputs, data_samples):
        assert not runner.model.training
        assert not torch.is_grad_enabled()
        tried.append((inputs.shape, len(data_samples)))

    monkeypatch.setattr(runner.model, 'try_terms', try_terms, raising=False)
    try_training(runner)
    assert tried == [((2, 1, 8, 8), 2)]


def test_samples_without_inputs_are_refused_with_their_remedy(runner):
    runner = runner()
    runner._train_dataloader['dataset']['pipeline'] = []
    with pytest.raises(ValueError, match=r'gt_label.*: add dict\(type=.PackInputs.\)'):
        try_training(runner)


def test_labels_of_several_classes_are_left_alone(runner, monkeypatch):
    runner = runner()
    dataset = runner.train_dataloader.dataset
    monkeypatch.setattr(type(dataset), 'metainfo', {})
    monkeypatch.setattr(type(dataset), 'get_gt_labels', lambda self: [[1, 2], [3]])
    try_training(runner)
