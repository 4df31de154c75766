import pytest
import torch

from mmbss.hooks import TeacherAccuracyHook
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


def test_guessing_hardly_ever_reaches_the_least_accuracy():
    generator = torch.Generator().manual_seed(0)
    right = (torch.rand(20_000, 512, generator=generator) < 0.1).float().mean(dim=1)
    assert right.max() < chance_accuracy(10, 512) < 0.17
    assert chance_accuracy(2, 4) == 1.0


@pytest.mark.parametrize('arguments', [dict(num_samples=0), dict(min_accuracy=1.5)])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match='TeacherAccuracyHook: '):
        TeacherAccuracyHook(**arguments)
