from pathlib import Path

import numpy as np
import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.hooks import TeacherAccuracyHook, teacher_accuracy_hook
from mmbss.hooks.teacher_accuracy_hook import chance_accuracy


@pytest.fixture
def runner(make_runner, resnet_config):
    def runner(teacher, **teacher_accuracy):
        model = resnet_config(
            teacher=teacher, losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0))
        )
        model['type'] = 'mmbss.Distiller'
        hook = dict(type='mmbss.TeacherAccuracyHook', **teacher_accuracy)
        return make_runner(model, epochs=1, default_hooks=dict(teacher_accuracy=hook))

    return runner


@pytest.fixture
def permuted_teacher(digits_teacher, tmp_path):
    """A good teacher with its classes in another order."""
    checkpoint = torch.load(digits_teacher['checkpoint'])
    state = checkpoint['state_dict']
    for name in ('head.fc.weight', 'head.fc.bias'):
        state[name] = state[name].roll(1, dims=0)
    path = tmp_path / 'permuted.pth'
    torch.save(dict(state_dict=state), path)
    return dict(digits_teacher, checkpoint=str(path))


def test_a_good_teacher_is_accepted(runner, digits_teacher):
    runner(digits_teacher).train()


def test_a_teacher_that_guesses_stops_the_run_before_training(runner, permuted_teacher):
    stopped = runner(permuted_teacher)
    with pytest.raises(ValueError, match=r'knows only .*% of 192 training images.*min_accuracy=0'):
        stopped.train()
    assert stopped.iter == 0


@pytest.mark.parametrize('label', [-1, 10])
def test_a_label_that_is_none_of_its_classes_is_named(runner, digits_teacher, monkeypatch, label):
    labels = torch.tensor([3, label])
    answers = (torch.tensor([3, 3]), labels, 10)
    monkeypatch.setattr(teacher_accuracy_hook, 'ask_teacher', lambda *args: answers)
    with pytest.raises(ConfigError, match=f'label {label}, .* classes 0 to 9'):
        runner(digits_teacher).train()


@pytest.mark.parametrize(('right', 'too_few'), [(19, True), (10, True), (20, False)])
def test_few_images_of_few_classes_do_not_tell_whether_it_guesses(
    runner, digits_teacher, monkeypatch, right, too_few
):
    labels = torch.arange(20) % 2
    decisions = torch.where(torch.arange(20) < right, labels, 1 - labels)
    monkeypatch.setattr(teacher_accuracy_hook, 'ask_teacher', lambda *args: (decisions, labels, 2))
    run = runner(digits_teacher)
    run.train()
    log = next(Path(run.work_dir).glob('*/*.log')).read_text()
    assert ('20 images are too few to tell whether the teacher guesses' in log) == too_few


def test_a_teacher_to_whom_no_loss_listens_is_not_asked(runner, permuted_teacher):
    run = runner(permuted_teacher)
    run.model.terms.clear()
    run.train()


def test_it_may_be_accepted(runner, permuted_teacher):
    accepted = runner(permuted_teacher, min_accuracy=0)
    accepted.train()
    assert accepted.iter == 6


def test_the_least_accuracy_may_be_given(runner, permuted_teacher):
    with pytest.raises(ValueError, match=r'of 150 training images, where 30\.0% of 10 classes'):
        runner(permuted_teacher, min_accuracy=0.3, num_samples=150).train()


def test_the_training_is_the_same_with_the_hook_as_without(runner, digits_teacher):
    states = []
    for least in (0, None):
        run = runner(digits_teacher, min_accuracy=least)
        run.train()
        states.append(run.model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])


def test_models_without_a_teacher_are_left_alone(make_runner, resnet_config):
    hooks = dict(teacher_accuracy=dict(type='mmbss.TeacherAccuracyHook'))
    make_runner(resnet_config(), epochs=1, default_hooks=hooks).train()


@pytest.mark.parametrize(
    ('said', 'true'),
    [
        ([1] * 10, [1] * 10),
        ([9, 1], [9, 1]),
        ([1, 1], [99, 1]),
        ([8, 1, 1], [1, 1, 8]),
        ([1, 0], [9, 1]),
    ],
    ids=str,
)
def test_guessing_hardly_ever_reaches_the_least_accuracy(said, true):
    generator = torch.Generator().manual_seed(0)

    def draw(weights):
        weights = torch.tensor(weights).float()
        return torch.multinomial(weights, 512, replacement=True, generator=generator)

    for _ in range(1000):
        decisions, labels = draw(said), draw(true)
        accuracy = (decisions == labels).float().mean()
        assert accuracy <= chance_accuracy(decisions, labels, len(true)) + 1e-6


def test_the_least_accuracy_is_that_of_a_binomial_guess_where_classes_are_equally_frequent():
    even = torch.arange(510) % 10
    expected = 0.1 + 5 * (0.1 * 0.9 / 510) ** 0.5
    assert chance_accuracy(even.roll(1), even, 10) == pytest.approx(expected)
    assert chance_accuracy(torch.zeros(510).long(), even, 10) == pytest.approx(0.1)
    assert chance_accuracy(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1]), 2) > 1
    one = torch.zeros(510).long()
    assert chance_accuracy(one, one, 10) == pytest.approx(expected)  # nothing to tell apart


@pytest.mark.parametrize('wrong', [0, 4])
def test_a_good_teacher_of_uneven_classes_is_none_that_guesses(wrong):
    labels = (torch.arange(512) % 10 == 0).long()
    decisions = labels.clone()
    decisions[:: 512 // wrong if wrong else 1000] = 0
    accuracy = (decisions == labels).float().mean()
    assert accuracy > chance_accuracy(decisions, labels, 2)


def test_a_teacher_that_says_the_most_frequent_class_alone_is_refused(
    runner, make_teacher, tmp_path
):
    labels = np.array(([0] * 9 + [1]) * 20)
    file = tmp_path / 'uneven.npz'
    np.savez(file, images=np.random.default_rng(0).integers(0, 256, (200, 8, 8)), labels=labels)
    stopped = runner(make_teacher(favoured=0))
    data = dict(type='mmbss.ArrayDataset', data_file=str(file))
    stopped._train_dataloader['dataset'] = data
    with pytest.raises(ValueError, match=r'knows only 90\.0% .* it says class 0 of each'):
        stopped.train()
    perhaps = runner(make_teacher(favoured=0), min_accuracy=0.5)
    perhaps._train_dataloader['dataset'] = data
    perhaps.train()


@pytest.mark.parametrize('arguments', [dict(num_samples=0), dict(min_accuracy=1.5)])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match='TeacherAccuracyHook: '):
        TeacherAccuracyHook(**arguments)
