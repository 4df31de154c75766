import copy
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import ReduceOnPlateauLR

from mmbss.engine.schedules import spans

HOOKS = dict(
    fingerprint=dict(type='mmbss.FingerprintHook'),
    step_seed=dict(type='mmbss.StepSeedHook'),
    checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1),
)
SCHEDULE = dict(type='MultiStepLR', by_epoch=True, milestones=[2], gamma=0.5)


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
        settings = dict(
            model=distiller,
            default_hooks=dict(HOOKS, fingerprint=HOOKS['fingerprint'] | fingerprint),
            custom_hooks=[],
            epochs=1,
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)
            ),
            param_scheduler=SCHEDULE,
            train_dataloader=dict(
                batch_size=32,
                num_workers=0,
                dataset=dict(type='mmbss.Digits', split='train', indices=96),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
        )
        if resume is not None:
            settings.update(resume=True, load_from=str(resume), epochs=2)
        config = Config(settings)
        config.merge_from_dict(copy.deepcopy(changes or {}))  # it takes _delete_ out
        capfd.readouterr()
        runner = make_runner(work_dir=tmp_path / folder, **config.to_dict())
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


OTHER_BATCHES = {'train_dataloader.batch_size': 16}


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (OTHER_BATCHES, 'train_dataloader.batch_size=16 .was 32.'),
        ({'train_dataloader.dataset.indices': 90}, 'training data=90 samples.*was 96 samples'),
        ({'model.losses.loss_kd.temperature': 7.0}, 'losses.loss_kd.temperature=7.0'),
        (
            {'optim_wrapper.optimizer': dict(type='Adam', lr=0.05, _delete_=True)},
            'optimizer.type=',
        ),
        (
            {'optim_wrapper.clip_grad': dict(max_norm=1.0)},
            'clip_grad.max_norm=1.0 .was nothing.',
        ),
        (
            {'param_scheduler': [SCHEDULE, dict(type='LinearLR', start_factor=0.1, end=1)]},
            r'param_scheduler=\[MultiStepLR, LinearLR\] .was \[MultiStepLR\].',
        ),
        ({'custom_hooks': [dict(type='EMAHook')]}, 'custom_hooks.EMAHook.type='),
        (
            {
                'train_dataloader.dataset.pipeline': [
                    dict(type='RandomFlip', prob=0.5),
                    dict(type='PackInputs'),
                ]
            },
            'dataset.pipeline',
        ),
        (  # shares of the training
            {
                'custom_hooks': [
                    dict(type='mmbss.BSSHook', schedules=dict(loss_kd=dict(start=4.0, end=1.0)))
                ]
            },
            'train_cfg.max_epochs=2',
        ),
    ],
)
def test_what_makes_the_result_another_one_is_refused(changes, named, train, checkpoint):
    with pytest.raises(ValueError, match=f'would not be the same: .*{named}') as error:
        train(changes, resume=checkpoint)
    assert '\n' not in str(error.value)
    assert 'accept_changes' in str(error.value)


def test_a_teacher_whose_own_config_has_changed_is_refused(
    train, distiller, write_config, tmp_path
):
    path, model = tmp_path / 'teacher.py', distiller['teacher']['config']
    distiller['teacher']['config'] = str(write_config(path, dict(model=model)))
    train()
    seen = dict(type='ClsDataPreprocessor', mean=[10.0], std=[40.0])
    write_config(path, dict(model=dict(model, data_preprocessor=seen)))
    with pytest.raises(ValueError, match=r'would not be the same: teacher\.normalisation='):
        train(resume=tmp_path / 'run' / 'epoch_1.pth')


def test_another_teacher_is_refused_whatever_its_path(train, checkpoint, distiller, make_teacher):
    with pytest.raises(ValueError, match=r'would not be the same: teacher\.weights='):
        train({'model.teacher': make_teacher()}, resume=checkpoint)
    for seen in (dict(mean=[10.0], std=[40.0]), dict(reverse_channels=True)):  # by another eye
        changes = {f'model.teacher.{key}': value for key, value in seen.items()}
        with pytest.raises(ValueError, match=r'would not be the same: .*teacher'):
            train(changes, resume=checkpoint)
    moved = shutil.copy(distiller['teacher']['checkpoint'], checkpoint.parent / 'moved.pth')
    train({'model.teacher.checkpoint': str(moved)}, resume=checkpoint)


LOWER_RATE = {'optim_wrapper.optimizer.lr': 0.001, 'param_scheduler.milestones': [1]}


def test_what_the_checkpoint_overrides_is_named_once(train, checkpoint):
    runner, said = train(LOWER_RATE, resume=checkpoint)
    assert runner.optim_wrapper.get_lr()['lr'] == [0.05], 'as without the changes'
    assert said.count('optim_wrapper.optimizer.lr=0.001 (was 0.05)') == 1
    assert said.count('param_scheduler.MultiStepLR.milestones=[1] (was [2])') == 1
    assert 'not used, since' in said


def test_what_is_not_used_is_said_at_the_next_resume_too(train, checkpoint, tmp_path):
    train(LOWER_RATE, resume=checkpoint)
    longer = LOWER_RATE | dict(epochs=3)
    _, said = train(longer, resume=tmp_path / 'run' / 'epoch_2.pth')
    assert 'not used, since' in said
    assert 'was 0.05' in said


def test_what_changes_no_step_is_said(train, checkpoint):
    loading = dict(num_workers=1, persistent_workers=True, pin_memory=False)
    _, said = train(dict(train_dataloader=loading), resume=checkpoint)
    assert 'train_dataloader.num_workers=1 (was 0)' in said
    assert 'persistent_workers=True (was' not in said


def test_changes_that_are_asked_for_count_the_iterations_anew(train, checkpoint):
    runner, said = train(OTHER_BATCHES, resume=checkpoint, accept_changes=True)
    assert 'train_dataloader.batch_size=16 (was 32)' in said
    assert (runner.epoch, runner.iter, runner.max_iters) == (2, 12, 12)


def test_gradients_accumulate_on_where_the_iterations_are_counted_anew(train, tmp_path):
    counts = {'optim_wrapper.accumulative_counts': 4}
    train(dict(counts, epochs=2))
    resumed = tmp_path / 'run' / 'epoch_1.pth'
    runner, _ = train(dict(counts, **OTHER_BATCHES), resume=resumed, accept_changes=True)
    wrapper = runner.optim_wrapper
    assert (wrapper._inner_count, wrapper._max_counts) == (12, 12)


def test_a_schedule_by_iteration_cannot_be_counted_anew(train, tmp_path):
    by_iteration = {'param_scheduler.by_epoch': False}
    train(by_iteration)
    by_iteration |= OTHER_BATCHES
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
    schedule = dict(milestones=[1, 2], convert_to_iter_based=converts)
    of_three = dict(epochs=3, param_scheduler=schedule)
    train(dict(of_three, epochs=1), folder='short')
    resumed, _ = train(of_three, folder='resumed', resume=tmp_path / 'short' / 'epoch_1.pth')
    alone, _ = train(of_three, folder='alone')
    assert resumed.optim_wrapper.get_lr() == alone.optim_wrapper.get_lr()
    for name, value in alone.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


@pytest.mark.parametrize('kind', ['CosineAnnealingLR', 'PolyLR'])
def test_a_schedule_over_the_whole_training_cannot_be_made_longer(kind, train, tmp_path):
    whole = dict(epochs=2, param_scheduler=dict(type=kind, _delete_=True))
    train(whole)
    with pytest.raises(ValueError, match=rf'would not be the same: param_scheduler\.{kind}\.'):
        train(dict(whole, epochs=3), resume=tmp_path / 'run' / 'epoch_1.pth')


def test_an_end_in_the_middle_of_an_update_cannot_be_made_longer(train, tmp_path):
    counts = {'optim_wrapper.accumulative_counts': 2, 'param_scheduler': None}
    train(counts)
    with pytest.raises(ValueError, match=r'since 3 iterations are no multiple of .*counts=2'):
        train(counts, resume=tmp_path / 'run' / 'epoch_1.pth')
    train({**counts, 'epochs': 2}, folder='even')
    train({**counts, 'epochs': 3}, resume=tmp_path / 'even' / 'epoch_2.pth')
    train({**counts, 'epochs': 3}, resume=tmp_path / 'even' / 'epoch_1.pth')


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


def test_a_module_of_ones_own_that_has_changed_is_said(train, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / 'terms_of_mine.py'
    module.write_text('WEIGHT = 1\n')
    mine = dict(custom_imports=dict(imports=['terms_of_mine']))
    train(mine)
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    assert 'code' not in train(mine, resume=checkpoint, folder='same')[1]
    module.write_text('WEIGHT = 2\n')
    _, said = train(mine, resume=checkpoint, folder='other')
    assert 'differs from the run that is resumed: code.terms_of_mine=' in said
