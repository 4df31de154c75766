import multiprocessing
import os
import stat
import time

import pytest

from mmbss.engine.work_dir import claimed_work_dir


def test_the_folder_is_made_and_free_again_afterwards(tmp_path):
    folder = tmp_path / 'deep' / 'run'
    for _ in range(2):
        with claimed_work_dir(folder, resume=False):
            assert folder.is_dir()
    assert not (folder / '.lock-owner').exists()


def claim(folder, held):
    with claimed_work_dir(folder, resume=False):
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
        claimed_work_dir(tmp_path, resume=True),
    ):
        pass


def test_a_killed_process_gives_the_folder_free(other_process, tmp_path):
    other_process.kill()
    other_process.join(60)
    with claimed_work_dir(tmp_path, resume=True):
        pass


def test_a_run_from_the_start_does_not_overwrite_checkpoints(tmp_path):
    (tmp_path / 'epoch_3.pth').touch()
    with (
        pytest.raises(ValueError, match=r'holds 1 checkpoints .* epoch_3.pth.*--resume'),
        claimed_work_dir(tmp_path, resume=False),
    ):
        pass
    with claimed_work_dir(tmp_path, resume=True):
        pass


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / 'run').touch()
    with (
        pytest.raises(OSError, match='run cannot be written to'),
        claimed_work_dir(tmp_path / 'run', resume=False),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with (
        pytest.raises(OSError, match='cannot be written to'),
        claimed_work_dir(tmp_path, resume=False),
    ):
        pass
    tmp_path.chmod(stat.S_IRWXU)


def test_only_the_first_of_several_processes_claims(tmp_path, monkeypatch, other_process):
    monkeypatch.setenv('RANK', '1')
    with claimed_work_dir(tmp_path, resume=False):
        pass
