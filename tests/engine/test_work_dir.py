import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmbss.engine.work_dir import claimed_work_dir, put_aside


def claimed(folder, resume=False, launcher='none', **checkpoint):
    """Claim the work dir of a config."""
    hooks = dict(checkpoint=checkpoint)
    return claimed_work_dir(
        Config(dict(work_dir=str(folder), resume=resume, launcher=launcher, default_hooks=hooks))
    )


def test_the_folder_is_made_and_free_again_afterwards(tmp_path):
    folder = tmp_path / 'deep' / 'run'
    for _ in range(2):
        with claimed(folder):
            assert folder.is_dir()
    assert not (folder / '.lock-owner').exists()


def claim(folder, held):
    with claimed(folder):
        held.set()
        time.sleep(60)


@pytest.fixture
def other_process(tmp_path):
    """A process that uses the folder."""
    context = multiprocessing.get_context('fork')
    held = context.Event()
    process = context.Process(target=claim, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join(60)


def test_a_second_run_in_the_folder_is_refused_with_the_first_named(other_process, tmp_path):
    with (
        pytest.raises(ValueError, match=f'in use by process {other_process.pid} on .*work-dir'),
        claimed(tmp_path, resume=True),
    ):
        pass


def test_a_killed_process_gives_the_folder_free(other_process, tmp_path):
    other_process.kill()
    other_process.join(60)
    (tmp_path / '.epoch_9.pth.4711.part').touch()
    with claimed(tmp_path, resume=True):
        assert not list(tmp_path.glob('.*.part'))


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / 'run').touch()
    message = 'run cannot be written to'
    with pytest.raises(OSError, match=message), claimed(tmp_path / 'run'):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OSError, match='cannot be written to'), claimed(tmp_path):
        pass
    tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize('variable', ['RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'])
@pytest.mark.parametrize('value', ['1', 'abc'])
def test_the_environment_of_a_run_without_a_launcher_decides_nothing(
    variable, value, tmp_path, monkeypatch
):
    monkeypatch.setenv(variable, value)
    (tmp_path / 'epoch_3.pth').touch()
    message = r'holds 1 checkpoints .* epoch_3\.pth.*would overwrite .*--resume'
    with pytest.raises(ValueError, match=message), claimed(tmp_path):
        pass


def test_only_the_first_of_several_processes_claims(tmp_path, monkeypatch, other_process):
    monkeypatch.setenv('RANK', '1')
    with claimed(tmp_path, launcher='pytorch'):
        pass


def test_processes_that_were_started_without_a_launcher_do_not_share(
    tmp_path, monkeypatch, other_process
):
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    with pytest.raises(ValueError, match='--launcher pytorch'), claimed(tmp_path):
        pass


@pytest.mark.parametrize(
    'name', ['epoch_3.pth', 'iter_9.pth', 'net_0001.pth', 'best_accuracy_top1_epoch_3.pth']
)
def test_checkpoints_of_any_name_and_folder_are_not_overwritten(name, tmp_path):
    kept = tmp_path / 'kept' / 'run' / name
    kept.parent.mkdir(parents=True)
    kept.touch()
    settings = dict(out_dir=str(tmp_path / 'kept'), filename_tmpl='net_{:04d}.pth')
    with pytest.raises(ValueError, match=name), claimed(tmp_path / 'run', **settings):
        pass
    with claimed(tmp_path / 'run', resume=True, **settings):
        pass


def test_two_work_dirs_of_one_name_do_not_share_their_checkpoints(tmp_path):
    settings = dict(out_dir=str(tmp_path / 'kept'))
    with (
        claimed(tmp_path / 'a' / 'run', **settings),
        pytest.raises(ValueError, match='kept/run is in use by'),
        claimed(tmp_path / 'b' / 'run', **settings),
    ):
        pass


def test_weights_of_others_in_the_folder_are_no_checkpoints(tmp_path):
    (tmp_path / 'teacher.pth').touch()
    with claimed(tmp_path):
        pass


def test_a_folder_is_put_aside_and_not_removed(tmp_path):
    folder = tmp_path / 'run'
    assert put_aside(folder) is None
    for number in range(2):
        folder.mkdir()
        (folder / 'run.json').touch()
        assert put_aside(folder) == tmp_path / f'replaced_{number}_run'
        assert not folder.exists()
    (tmp_path / 'replaced_0_run' / 'run.json').unlink()
    (tmp_path / 'replaced_0_run').rmdir()
    folder.mkdir()
    assert put_aside(folder) == tmp_path / 'replaced_0_run'


def test_a_folder_in_use_is_not_put_aside(other_process, tmp_path, monkeypatch):
    monkeypatch.chdir('/')
    with pytest.raises(ValueError, match=f'in use by process {other_process.pid}'):
        put_aside(tmp_path.parent)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='from within'):
        put_aside(Path())
    assert tmp_path.is_dir()
