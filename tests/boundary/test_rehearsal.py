"""In the trial before a training every part of the term has its turn."""

import pytest
import torch

from mmbss.attacks import BSSAttack
from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.training import try_training


@pytest.fixture
def runner(make_runner, make_teacher, resnet_config, boundary_config):
    """A runner of a student that is right about no image, and so has no base sample."""

    def make(batch_size=32, loss=None, **boundary):
        model = resnet_config() | dict(
            type='mmbss.Distiller',
            teacher=make_teacher(favoured=3),
            losses=dict(loss_bss=boundary_config(**boundary)),
        )
        runner = make_runner(model, epochs=1)
        runner._train_dataloader['batch_size'] = batch_size
        return runner

    return make


@pytest.mark.parametrize('candidates', ['both_correct', 'teacher_correct'])
@pytest.mark.parametrize('target', ['probability', 'second_most_probable'])
def test_samples_are_attacked_whatever_the_networks_say(runner, candidates, target, monkeypatch):
    attacked = []
    run = BSSAttack.run
    monkeypatch.setattr(
        BSSAttack, 'run', lambda self, *args, **more: attacked.append(1) or run(self, *args, **more)
    )
    started = runner(candidates=candidates, target_class=target)
    term = started.model.terms['loss_bss']
    search = dict(term.search)
    answered = []
    started.model.head.register_forward_hook(lambda *_: answered.append(1))
    try_training(started)
    assert attacked
    assert len(answered) >= 2
    assert term.search == search


def test_a_bug_in_an_attack_shows_before_the_training(runner, monkeypatch):
    def broken(self, *args, **more):
        return {}['step']

    monkeypatch.setattr(BSSAttack, 'run', broken)
    with pytest.raises(KeyError, match='step'):
        try_training(runner())


def test_one_boundary_sample_is_too_few_for_batch_norm(runner):
    with pytest.raises(ConfigError, match=r'losses\.loss_bss: num_base_samples=1 leaves one'):
        try_training(runner(num_base_samples=1))
    try_training(runner(num_base_samples=1, candidates='teacher_correct'))


def test_a_training_without_a_trial_refuses_it_too(runner, make_batch):
    model = runner(num_base_samples=1).model
    with pytest.raises(ConfigError, match='num_base_samples=1 leaves one'):
        model.train().loss(*make_batch([3] * 8))


def test_statistics_that_are_frozen_ask_for_no_second_sample(runner):
    started = runner(num_base_samples=1)
    train = started.model.train

    def frozen(mode=True):
        train(mode)
        for module in started.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return started.model

    started.model.train = frozen
    try_training(started)


def test_a_batch_of_one_has_no_two_boundary_samples(runner):
    with pytest.raises(ConfigError, match=r'batch_size=1.*BatchNorm'):
        try_training(runner(batch_size=1))
    try_training(runner(batch_size=191))  # but the last may be one
    try_training(runner(batch_size=1, candidates='teacher_correct'))


def test_bounds_of_ones_own_are_those_of_the_base_samples_too(
    make_distiller, make_batch, boundary_config, monkeypatch
):
    inputs, data_samples = make_batch([3] * 8)
    inputs *= 1000  # far from pixels 0 to 255
    given = []
    run = BSSAttack.run
    monkeypatch.setattr(
        BSSAttack, 'run', lambda self, *args, **more: given.append(args) or run(self, *args, **more)
    )
    boundary = boundary_config(bounds=(-1e4, 1e4), base_samples='all')
    make_distiller(favoured=3, boundary=boundary).loss(inputs, data_samples)
    _, samples, *_ = given[0]
    assert samples.abs().max() > 500
    assert all((inputs == sample).flatten(1).all(dim=1).any() for sample in samples)
