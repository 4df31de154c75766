from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.engine.hooks import AtomicCheckpointHook
from mmbss.registry import HOOKS


class KilledError(Exception):
    """The moment at which a run is killed."""


@HOOKS.register_module()
class StopHook(Hook):
    """Ends a run at a hook point of an epoch, as a kill would."""

    def __init__(self, point, epoch):
        self.epoch = epoch
        setattr(self, point, self.stop)

    def stop(self, runner, *args, **kwargs):
        if runner.epoch == self.epoch:
            raise KilledError


@pytest.fixture
def run(run_settings, resnet_config, tmp_path):
    """Train some epochs of a plain classifier, from the start or on from a checkpoint."""
    count = 0

    def run(stop=None, epochs=3, keep=1, resume=None, **checkpoint):
        nonlocal count
        count += 1
        config = Config(run_settings(tmp_path, resnet_config(), epochs=epochs))
        config.experiment_name = f'{tmp_path.name}_{count}'
        config.train_dataloader.dataset.indices = 64
        config.default_hooks.step_seed = dict(type='mmbss.StepSeedHook')
        config.default_hooks.checkpoint = dict(
            type='mmbss.AtomicCheckpointHook', interval=1, max_keep_ckpts=keep, **checkpoint
        )
        if stop is not None:
            config.custom_hooks = [dict(type='mmbss.StopHook', **stop)]
        config.resume = resume is not None
        config.load_from = resume and str(tmp_path / resume)
        runner = Runner.from_cfg(config)
        if stop is None:
            runner.train()
        else:
            with pytest.raises(KilledError):
                runner.train()
        return runner

    return run


def names(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def test_only_the_newest_checkpoints_are_kept(run, tmp_path):
    run(keep=2)
    assert names(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']
    assert not list(tmp_path.glob('.*.part'))


def test_one_is_kept_besides_the_best(run, tmp_path):
    run(keep=1, save_best='auto')
    assert len(names(tmp_path)) == 2
    assert names(tmp_path)[1] == 'epoch_3.pth'


def test_the_outdated_one_stays_until_its_successor_is_written(run, tmp_path, monkeypatch):
    full = []

    def save(self, *args, **kwargs):
        if self.epoch == 1 and not full:
            full.append(names(tmp_path))
            raise OSError('no room')
        return original(self, *args, **kwargs)

    original = Runner.save_checkpoint
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    with pytest.raises(OSError, match='no room'):
        run(keep=1)
    assert full == [['epoch_1.pth']]
    assert names(tmp_path) == ['epoch_1.pth']


def validated(folder, name):
    hub = torch.load(folder / name)['message_hub']
    return hub['runtime_info'].get('last_validation')


def test_a_checkpoint_knows_whether_it_has_been_validated(run, tmp_path):
    run(stop=dict(point='before_val_epoch', epoch=2, priority='LOWEST'), keep=-1)
    # two iterations an epoch
    assert validated(tmp_path, 'epoch_1.pth') == 2
    assert validated(tmp_path, 'epoch_2.pth') == 2


@pytest.mark.parametrize('save_best', [None, 'auto'])
def test_a_validation_that_a_kill_prevented_is_made_up_for(save_best, run, tmp_path):
    checkpoint = dict(save_best=save_best)
    run(stop=dict(point='before_val_epoch', epoch=2, priority='LOWEST'), keep=-1, **checkpoint)
    runner = run(resume='epoch_2.pth', keep=-1, **checkpoint)
    accuracies = runner.message_hub.get_scalar('val/accuracy/top1')
    assert accuracies.data[0].size == 3, 'one of each epoch'
    assert validated(tmp_path, 'epoch_2.pth') == 4


def test_scores_of_another_metric_are_no_measure_of_the_best(run, tmp_path):
    run(epochs=1, keep=-1, save_best='accuracy/top1')
    best = tmp_path / 'best_accuracy_top1_epoch_1.pth'
    assert best.is_file()
    # the same metric, but the lower the better
    other = dict(save_best='accuracy/top1', rule='less')
    runner = run(resume='epoch_1.pth', epochs=2, keep=-1, **other)
    said = Path(runner.logger.log_file).read_text()
    assert 'looked for anew' in said
    info = torch.load(tmp_path / 'epoch_2.pth')['message_hub']['runtime_info']
    assert Path(info['best_ckpt']).name == 'best_accuracy_top1_epoch_2.pth'
    assert info['best_of'] == {'accuracy/top1': 'less'}
    assert best.is_file()
    runner = run(resume='epoch_2.pth', epochs=3, keep=-1, **other)
    # within the same second it is the same file
    assert 'looked for anew' not in Path(runner.logger.log_file).read_text().removeprefix(said)


def test_a_best_score_that_is_a_tensor_is_remembered(run, tmp_path):
    run(epochs=1, keep=-1, save_best='auto')
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    info = checkpoint['message_hub']['runtime_info']
    info['best_score'] = torch.tensor(200.0)  # which no later epoch reaches
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    run(resume='epoch_1.pth', epochs=2, keep=-1, save_best='auto')
    assert (tmp_path / 'best_accuracy_top1_epoch_1.pth').is_file()
    assert not (tmp_path / 'best_accuracy_top1_epoch_2.pth').exists()


def test_what_lies_elsewhere_is_never_removed(run, tmp_path):
    run(epochs=1, keep=-1, save_best='auto')
    elsewhere = tmp_path / 'of_another_run' / 'best.pth'
    elsewhere.parent.mkdir()
    elsewhere.touch()
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    info = checkpoint['message_hub']['runtime_info']
    assert 'best_ckpt' in info, 'which mmengine removes when there is a better one'
    checkpoint['message_hub']['runtime_info'] = dict(
        info, best_ckpt=str(elsewhere), best_score=-1.0
    )
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    run(resume='epoch_1.pth', epochs=2, keep=-1, save_best='auto')
    assert elsewhere.is_file()


def test_a_validation_that_has_been_made_is_not_repeated(run, tmp_path):
    run(epochs=2, keep=-1)
    runner = run(resume='epoch_2.pth', keep=-1)
    assert runner.message_hub.get_scalar('val/accuracy/top1').data[0].size == 3


def test_a_finished_run_that_is_resumed_says_so(run, tmp_path, capfd):
    run(epochs=2, keep=-1)
    said = capfd.readouterr()
    assert 'are done already' not in said.out + said.err
    run(epochs=2, resume='epoch_2.pth', keep=-1)
    said = capfd.readouterr()
    assert 'all 4 iterations are done already: raise train_cfg.max_epochs' in said.out + said.err


@pytest.mark.parametrize('name', ['iter_2.pth', 'iter_3.pth'])
def test_a_resume_within_an_epoch_validates_at_its_end(name, run):
    run(keep=-1, by_epoch=False)  # two iterations an epoch
    runner = run(resume=name, keep=-1, by_epoch=False)
    assert runner.message_hub.get_scalar('val/accuracy/top1').data[0].size == 3


def test_nothing_is_due_without_validation(make_runner, resnet_config, tmp_path):
    hooks = dict(checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1))
    make_runner(resnet_config(), default_hooks=hooks, epochs=1, work_dir=tmp_path).train()
    runner = make_runner(
        resnet_config(),
        default_hooks=hooks,
        epochs=2,
        work_dir=tmp_path,
        resume=True,
        load_from=str(tmp_path / 'epoch_1.pth'),
    )
    runner.train()
    assert runner.epoch == 2


@pytest.mark.parametrize(
    ('arguments', 'backend'),
    [
        (dict(), dict(backend='AtomicLocalBackend')),
        (dict(out_dir='elsewhere'), dict(backend='AtomicLocalBackend')),
        (dict(out_dir='s3://bucket'), None),
        (dict(backend_args=dict(backend='local')), dict(backend='local')),
    ],
)
def test_files_are_atomic_unless_another_storage_is_asked_for(arguments, backend):
    assert AtomicCheckpointHook(**arguments).backend_args == backend


def test_its_storage_is_there_wherever_the_hook_is(python):
    code = """
from mmengine.fileio import get_file_backend
from mmbss.registry import HOOKS
print(get_file_backend(backend_args=HOOKS.get('AtomicCheckpointHook')().backend_args).name)
"""
    assert python('-c', code).stdout.splitlines()[-1] == 'AtomicLocalBackend'


# ---------------------------------------------------------------- what a checkpoint says of files

OLD, NEW = 'best_accuracy_top1_epoch_7.pth', 'best_accuracy_top1_epoch_1.pth'


@pytest.fixture
def resumed(run, tmp_path):
    """Let a run be told something by a checkpoint, and then find a better one."""
    runner = run(epochs=1, keep=-1, save_best='auto')
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook))

    def resumed(keep=-1, **info):
        runner.message_hub.update_info_dict(info)
        hook.max_keep_ckpts = keep
        hook.before_train(runner)
        hook.after_val_epoch(runner, {'accuracy/top1': 100.0})
        return runner

    return resumed


def test_nothing_is_removed_that_this_run_has_not_written(resumed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('below').mkdir()
    Path('folder', OLD).mkdir(parents=True)
    Path('target').touch()
    Path(OLD).symlink_to('target')
    names = ['config.py', 'teacher.pth', 'best.pth', f'below/{OLD}', f'x{OLD}', f'{OLD}.bak']
    for name in names:
        Path(name).touch()
    others = ['epoch_1.pth', OLD, '.', '..', '', f'folder/{OLD}', f'below/../{OLD}', '/', 'log\n']
    before = {*tmp_path.rglob('*')}
    for named in (*names, *others):
        for path in (named, str(tmp_path / named)):
            resumed(best_ckpt=path, best_score=-1.0)
    for strange in (None, 3, [OLD], {OLD: OLD}, torch.zeros(2), 'a\0b'):
        resumed(best_ckpt=strange, best_score=-1.0)
    assert {*tmp_path.rglob('*')} == before


def test_the_best_one_of_a_copy_is_its_own(resumed, tmp_path):
    (tmp_path / 'original').mkdir()
    for folder in (tmp_path, tmp_path / 'original'):
        (folder / OLD).touch()
    runner = resumed(best_ckpt=str(tmp_path / 'original' / OLD), best_score=-1.0)
    assert (tmp_path / 'original' / OLD).is_file()
    assert not (tmp_path / OLD).exists()
    assert runner.message_hub.get_info('best_ckpt') == str(tmp_path / NEW)


def test_a_better_one_is_noted_after_a_resume_as_without(resumed, tmp_path):
    runner = resumed()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook))
    runner._resume, runner.train_loop._max_iters = True, 9
    runner.message_hub.update_info('best_score', -1.0)
    hook.last_ckpt, hook.is_due = None, False  # as when it has been made
    hook.before_train(runner)
    (tmp_path / 'epoch_1.pth').unlink()
    hook.after_val_epoch(runner, {'accuracy/top1': 100.0})
    hook.after_val(runner)
    hub = torch.load(tmp_path / 'epoch_1.pth')['message_hub']
    assert hub['runtime_info']['best_score'] == 100.0


def test_a_name_without_a_number_is_kept(run, tmp_path):
    stop = dict(point='before_val_epoch', epoch=2, priority='LOWEST')
    run(stop=stop, keep=1, filename_tmpl='last.pth')
    assert names(tmp_path) == ['last.pth']
    assert torch.load(tmp_path / 'last.pth')['meta']['epoch'] == 2


def test_names_that_a_resume_would_not_know_are_refused():
    with pytest.raises(ValueError, match='filename_tmpl'):
        AtomicCheckpointHook(filename_tmpl='sub/epoch_{}.pth')


@pytest.mark.parametrize('score', ['a', None, [1], torch.zeros(2)])
def test_a_best_score_that_is_no_number_is_forgotten(resumed, score):
    assert resumed(best_score=score).message_hub.get_info('best_score') == 100.0


def test_numbers_of_outdated_checkpoints_are_numbers(resumed, tmp_path):
    (tmp_path / 'epoch_').mkdir()
    for name in ('epoch_8.pth', 'epoch_9.pth', 'x.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'epoch_5.pth').symlink_to('x.pth')
    (tmp_path / 'epoch_6.pth').mkdir()
    ids = ['/../x', -1, True, None, 2.0, '8', 5, 6, 8, 9]
    resumed(keep=1, keep_ckpt_ids=ids)
    left = {path.name for path in tmp_path.iterdir()}
    assert {'x.pth', 'epoch_5.pth', 'epoch_6.pth'} < left
    assert 'epoch_8.pth' not in left
    resumed(keep=1, keep_ckpt_ids='12')


@pytest.mark.parametrize(
    ('template', 'name', 'own'),
    [
        ('epoch_{}.pth', 'epoch_12.pth', True),
        ('epoch_{}.pth', 'epoch_x.pth', False),
        ('epoch_{}.pth', 'epoch_12xpth', False),
        ('net{:04d}.pt', 'net0012.pt', True),
        ('net{:04d}.pt', 'best_a_net0012.pt', True),
        ('a.{}', 'a.1', True),
        ('a.{}', 'ab1', False),
    ],
)
def test_names_are_those_of_the_template(template, name, own):
    hook = AtomicCheckpointHook(filename_tmpl=template)
    assert bool(hook.names.fullmatch(name)) == own


def test_a_checkpoint_needs_neither_numpy_nor_mmengine(run, tmp_path, python):
    run(epochs=1, keep=-1, save_best='auto')
    for name in names(tmp_path):
        assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / name) == []
    code = f"""
import sys
sys.modules['mmengine'] = None
import torch
for name in {names(tmp_path)}:
    assert torch.load('{tmp_path}/' + name, weights_only=True)['state_dict']
"""
    python('-c', code)
