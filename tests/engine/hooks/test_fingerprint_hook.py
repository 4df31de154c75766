import copy
import shutil

import pytest
import torch
from mmengine.optim import ReduceOnPlateauLR

from mmbss.engine.schedules import spans

HOOKS = dict(
    fingerprint=dict(type='mmbss.FingerprintHook'),
    step_seed=dict(type='mmbss.StepSeedHook'),
    checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1),
)


@pytest.fixture
def distiller(make_teacher, resnet_config):
    return dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=make_teacher(),
        losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
    )


@pytest.fixture
def train(make_runner, distiller, tmp_path, capfd):
    """Train one epoch, or resume it with changes and train another; gives runner and output."""

    def train(changes=None, resume=None, folder='run', **fingerprint):
        hooks = copy.deepcopy(HOOKS)
        hooks['fingerprint'].update(fingerprint)
        settings = dict(
            default_hooks=hooks,
            custom_hooks=[],
            epochs=1,
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)
            ),
            param_scheduler=dict(type='MultiStepLR', by_epoch=True, milestones=[2], gamma=0.5),
            train_dataloader=dict(
                batch_size=32,
                num_workers=0,
                dataset=dict(type='mmbss.Digits', split='train', indices=96),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
        )
        model = copy.deepcopy(distiller)
        if resume is not None:
            settings.update(resume=True, load_from=str(resume), epochs=2)
        if changes is not None:
            changes(settings, model)
        capfd.readouterr()
        runner = make_runner(model, work_dir=tmp_path / folder, **settings)
        runner.train()
        said = capfd.readouterr()
        return runner, said.out + said.err

    return train


@pytest.fixture
def checkpoint(train, tmp_path):
    train()
    return tmp_path / 'run' / 'epoch_1.pth'


def test_the_same_run_goes_on_without_a_word_but_of_its_length(train, checkpoint):
    _, said = train(resume=checkpoint)
    assert 'differs from the run that is resumed: train_cfg.max_epochs=2 (was 1)\n' in said
    assert 'not used, since' not in said
    assert all(type(text) is str for text in torch.load(checkpoint)['meta']['fingerprint'].values())


def other_batches(settings, model):
    settings['train_dataloader']['batch_size'] = 16


def other_data(settings, model):
    settings['train_dataloader']['dataset']['indices'] = 90


def other_term(settings, model):
    model['losses']['loss_kd']['temperature'] = 7.0


def other_optimizer(settings, model):
    settings['optim_wrapper']['optimizer'] = dict(type='Adam', lr=0.05)


def other_clipping(settings, model):
    settings['optim_wrapper']['clip_grad'] = dict(max_norm=1.0)


def another_schedule(settings, model):
    settings['param_scheduler'] = [
        settings['param_scheduler'],
        dict(type='LinearLR', start_factor=0.1, end=1),
    ]


def another_hook(settings, model):
    settings['custom_hooks'] = [dict(type='EMAHook')]


def other_order(settings, model):
    settings['train_dataloader']['dataset']['pipeline'] = [
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackInputs'),
    ]


def shares_of_the_training(settings, model):
    settings['custom_hooks'] = [
        dict(type='mmbss.BSSHook', schedules=dict(loss_kd=dict(start=4.0, end=1.0)))
    ]


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (other_batches, 'train_dataloader.batch_size=16 .was 32.'),
        (other_data, 'training data=90 samples.*was 96 samples'),
        (other_term, 'losses.loss_kd.temperature=7.0'),
        (other_optimizer, 'optimizer.type='),
        (other_clipping, 'clip_grad.max_norm=1.0 .was nothing.'),
        (another_schedule, r'param_scheduler=\[MultiStepLR, LinearLR\] .was \[MultiStepLR\].'),
        (another_hook, 'custom_hooks.EMAHook.type='),
        (other_order, 'dataset.pipeline'),
        (shares_of_the_training, 'train_cfg.max_epochs=2'),
    ],
)
def test_what_makes_the_result_another_one_is_refused(change, named, train, checkpoint):
    with pytest.raises(ValueError, match=f'would not be the same: .*{named}') as error:
        train(change, resume=checkpoint)
    assert '\n' not in str(error.value)
    assert 'accept_changes' in str(error.value)


def test_another_teacher_is_refused_whatever_its_path(train, checkpoint, make_teacher):
    def other_teacher(settings, model):
        model['teacher'] = make_teacher()

    def moved_teacher(settings, model):
        path = checkpoint.parent / 'moved.pth'
        shutil.copy(model['teacher']['checkpoint'], path)
        model['teacher'] = dict(model['teacher'], checkpoint=str(path))

    with pytest.raises(ValueError, match='would not be the same: teacher='):
        train(other_teacher, resume=checkpoint)
    train(moved_teacher, resume=checkpoint)


def lower_rate(settings, model):
    settings['optim_wrapper']['optimizer']['lr'] = 0.001
    settings['param_scheduler']['milestones'] = [1]


def test_what_the_checkpoint_overrides_is_named_once(train, checkpoint):
    runner, said = train(lower_rate, resume=checkpoint)
    assert runner.optim_wrapper.get_lr()['lr'] == [0.05], 'as without the changes'
    assert said.count('optim_wrapper.optimizer.lr=0.001 (was 0.05)') == 1
    assert said.count('param_scheduler.MultiStepLR.milestones=[1] (was [2])') == 1
    assert 'not used, since' in said


def test_what_is_not_used_is_said_at_the_next_resume_too(train, checkpoint, tmp_path):
    train(lower_rate, resume=checkpoint)

    def longer(settings, model):
        lower_rate(settings, model)
        settings['epochs'] = 3

    _, said = train(longer, resume=tmp_path / 'run' / 'epoch_2.pth')
    assert 'not used, since' in said
    assert 'was 0.05' in said


def more_workers(settings, model):
    settings['train_dataloader'].update(num_workers=1, persistent_workers=True, pin_memory=False)


def test_what_changes_no_step_is_said(train, checkpoint):
    _, said = train(more_workers, resume=checkpoint)
    assert 'train_dataloader.num_workers=1 (was 0)' in said
    assert 'persistent_workers=True (was' not in said


def test_changes_that_are_asked_for_count_the_iterations_anew(train, checkpoint):
    runner, said = train(other_batches, resume=checkpoint, accept_changes=True)
    assert 'train_dataloader.batch_size=16 (was 32)' in said
    assert (runner.epoch, runner.iter, runner.max_iters) == (2, 12, 12)


def by_iteration(settings, model):
    other_batches(settings, model)
    settings['param_scheduler']['by_epoch'] = False


def test_a_schedule_by_iteration_cannot_be_counted_anew(train, tmp_path):
    def before(settings, model):
        settings['param_scheduler']['by_epoch'] = False

    train(before)
    with pytest.raises(ValueError, match='6 iterations, and had 3'):
        train(by_iteration, resume=tmp_path / 'run' / 'epoch_1.pth', accept_changes=True)


@pytest.mark.parametrize('key', ['optimizer', 'param_schedulers'])
def test_a_checkpoint_without_a_state_that_is_needed_is_refused(key, train, checkpoint):
    content = torch.load(checkpoint)
    del content[key]
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match=f'there is no {key} in the checkpoint'):
        train(resume=checkpoint)


@pytest.mark.parametrize('fingerprint', [None, 'x', [1]])
def test_a_checkpoint_of_mmengine_cannot_be_compared(fingerprint, train, checkpoint):
    content = torch.load(checkpoint)
    content['meta']['fingerprint'] = fingerprint
    torch.save(content, checkpoint)
    _, said = train(resume=checkpoint)
    assert 'cannot be known' in said


@pytest.mark.parametrize('converts', [False, True])
def test_a_finished_run_that_is_made_longer_equals_one_of_that_length(converts, train, tmp_path):
    def of_three(settings, model):
        settings['epochs'] = 3
        settings['param_scheduler'].update(milestones=[1, 2], convert_to_iter_based=converts)

    def of_one(settings, model):
        of_three(settings, model)
        settings['epochs'] = 1

    train(of_one, folder='short')
    resumed, _ = train(of_three, folder='resumed', resume=tmp_path / 'short' / 'epoch_1.pth')
    alone, _ = train(of_three, folder='alone')
    assert resumed.optim_wrapper.get_lr() == alone.optim_wrapper.get_lr()
    for name, value in alone.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


@pytest.mark.parametrize('kind', ['CosineAnnealingLR', 'PolyLR'])
def test_a_schedule_over_the_whole_training_cannot_be_made_longer(kind, train, tmp_path):
    def whole(settings, model):
        settings['param_scheduler'] = dict(type=kind)
        settings['epochs'] += 1

    train(whole)
    with pytest.raises(ValueError, match=rf'would not be the same: param_scheduler\.{kind}\.'):
        train(whole, resume=tmp_path / 'run' / 'epoch_1.pth')


@pytest.mark.parametrize('rule', ['less', 'greater'])
@pytest.mark.parametrize('metric', [2, 0.5], ids=['count', 'share'])
def test_what_a_schedule_has_counted_is_no_length(rule, metric):
    def schedule():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        return ReduceOnPlateauLR(optimizer, monitor='x', rule=rule, patience=1, cooldown=3)

    seen = schedule()
    for _ in range(4):
        seen.step(dict(x=metric))
    assert (seen.best, seen.cooldown_counter > 0) == (metric, True)
    assert not [*spans([schedule()], [seen.state_dict()])]
