"""Whole runs that are killed, that share a work dir, or that run out of disk."""

import functools
import os
import pkgutil
import resource
import signal
import time
import traceback

import pytest
import torch
from mmengine.config import Config


def wait_for(process, path, text, seconds=300):
    """Wait until a run has written a text into its log."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.is_file() and text in path.read_text():
            return
        assert process.poll() is None, path.read_text()[-3000:]
        time.sleep(0.02)
    raise AssertionError(path.read_text()[-3000:])


@pytest.fixture
def train_tool(root):
    return root / 'tools' / 'train.py'


@pytest.fixture
def endless_config(configs, write_config, tmp_path):
    """The short BSS run with more epochs than anybody waits for."""
    config = Config.fromfile(configs.bss)
    config.train_cfg.max_epochs = 10_000
    config.train_dataloader.num_workers = 1
    return write_config(tmp_path / 'endless.py', config.to_dict())


def test_a_second_run_in_the_same_work_dir_is_refused(
    fork, train_tool, endless_config, configs, call_tool, tmp_path
):
    log = tmp_path / 'first.log'
    first = fork(
        *(train_tool, endless_config, '--work-dir', tmp_path / 'run'),
        output=(log, log),
        before=os.setsid,
    )
    wait_for(first, log, 'Saving checkpoint at 2 epochs')  # so the first has been written
    with pytest.raises(SystemExit, match=rf'^error: .* is in use by process {first.pid}'):
        call_tool('train', configs.bss, '--work-dir', tmp_path / 'run', '--resume')
    assert first.poll() is None
    # as Ctrl-C does, of which the data workers hear too
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(60) == 130
    assert (
        log.read_text().splitlines()[-1].startswith('interrupted: go on from the last checkpoint')
    )
    assert 'Traceback' not in log.read_text()
    torch.load(next((tmp_path / 'run').glob('epoch_*.pth')))
    assert not list((tmp_path / 'run').glob('.*.part'))


def test_a_finished_run_is_not_overwritten(configs, bss_run, call_tool):
    before = {path: path.stat().st_mtime_ns for path in bss_run.folder.glob('*.pth')}
    with pytest.raises(SystemExit, match=r'^error: .* go on with --resume'):
        call_tool('train', configs.bss, '--work-dir', bss_run.folder)
    assert {path: path.stat().st_mtime_ns for path in bss_run.folder.glob('*.pth')} == before


def limit_files():
    """No file may grow beyond 30 kB, less than a checkpoint has."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_is_there(
    forked, configs, bss_run, train_tool, tmp_path
):
    content = (bss_run.folder / 'epoch_2.pth').read_bytes()
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'epoch_2.pth').write_bytes(content)
    run = forked(
        train_tool,
        *(configs.bss, '--work-dir', tmp_path / 'run', '--resume'),
        *('--cfg-options', 'log_level=ERROR'),
        before=limit_files,
        check=False,
    )
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert 'epoch_3.pth could not be written' in last
    assert 'what was there before is intact' in last
    assert (tmp_path / 'run' / 'epoch_2.pth').read_bytes() == content
    assert not list((tmp_path / 'run').glob('.*.part'))


# ---------------------------------------------------------------- bugs

BUGS = {
    KeyError: '{}["interval"]',
    TypeError: 'None + 1',
    RuntimeError: 'torch.zeros(2) @ torch.zeros(3)',
    ValueError: 'int("x")',
    AttributeError: 'None.interval',
}
#: A method of each kind of part, which a run calls.
PLACES = dict(
    hook='mmbss.hooks.BSSHook.before_train_iter',
    loss='mmbss.losses.KDLoss.forward',
    metric='mmbss.metrics.CalibrationError.process',
    built_hook='mmbss.hooks.BSSHook.__init__',
    built_loss='mmbss.losses.KDLoss.__init__',
    built_metric='mmbss.metrics.CalibrationError.__init__',
)


@pytest.fixture
def run_with_bug(configs, write_config, tmp_path):
    """Settings of a short run that has a bug in one of its parts, and what makes the bug."""
    config = Config.fromfile(configs.bss)
    config.train_cfg.max_epochs = 1
    config.val_evaluator = config.test_evaluator = dict(type='mmbss.CalibrationError')
    config.default_hooks.checkpoint.save_best = None
    path = write_config(tmp_path / 'bug.py', config.to_dict())

    def run_with_bug(place, bug):
        owner, _, method = PLACES[place].rpartition('.')
        owner = pkgutil.resolve_name(owner)
        space = dict(__name__=owner.__module__, torch=torch)
        exec(f'def broken(*args, **kwargs): {BUGS[bug]}', space)
        return path, owner, method, functools.wraps(getattr(owner, method))(space['broken'])

    return run_with_bug


@pytest.mark.parametrize('bug', BUGS, ids=lambda bug: bug.__name__)
@pytest.mark.parametrize('place', PLACES)
def test_a_bug_of_mmbss_keeps_its_traceback(
    place, bug, run_with_bug, call_tool, monkeypatch, tmp_path
):
    path, *broken = run_with_bug(place, bug)
    monkeypatch.setattr(*broken)
    with pytest.raises(bug) as error:
        call_tool('train', path, '--work-dir', tmp_path / 'run')
    shown = ''.join(traceback.format_exception(error.value))
    # of a TypeError in a hook, mmengine shows which hook it was instead
    assert ', in broken' in shown or ' in <mmbss.hooks.bss_hook.BSSHook' in shown


def test_a_traceback_is_what_the_program_prints(forked, run_with_bug, train_tool, tmp_path):
    path, owner, method, broken = run_with_bug('hook', KeyError)
    run = forked(
        train_tool,
        *(path, '--work-dir', tmp_path / 'run'),
        before=lambda: setattr(owner, method, broken),
        check=False,
    )
    assert run.returncode == 1
    assert 'Traceback (most recent call last)' in run.stderr
    assert "KeyError: 'interval'" in run.stderr
    assert 'error: interval' not in run.stderr
