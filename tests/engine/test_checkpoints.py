import multiprocessing
import os
import resource
import signal

import pytest
import torch
from mmengine.fileio import get_file_backend

from mmbss.engine.files import read_checkpoint


@pytest.fixture
def backend():
    return get_file_backend(backend_args=dict(backend='AtomicLocalBackend'))


def write(path, value=1.0):
    torch.save(dict(state_dict=dict(weight=torch.full((1000,), value))), path)
    return path


def truncate(path, share=0.5):
    os.truncate(path, int(path.stat().st_size * share))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_file_is_written_with_its_folder_and_nothing_else_is_left(backend, tmp_path):
    backend.put(b'content', tmp_path / 'new' / 'file')
    assert (tmp_path / 'new' / 'file').read_bytes() == b'content'
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['file']


def put_on_a_full_disk(backend, path, connection):
    """No file may grow beyond 1 kB, as if the disk had no more room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    with pytest.raises(OSError, match='could not be written') as error:
        backend.put(b'x' * 10_000, path)
    connection.send(str(error.value))


def test_a_full_disk_leaves_the_earlier_file_and_no_part(backend, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'earlier')
    # in a process of its own, since the limit holds for the output of the tests too
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=put_on_a_full_disk, args=(backend, path, sender))
    process.start()
    process.join(60)
    assert receiver.poll()
    message = receiver.recv()
    assert message.startswith(f'{path} could not be written')
    assert 'make room' in message
    assert path.read_bytes() == b'earlier'
    assert [file.name for file in tmp_path.iterdir()] == ['epoch_1.pth']


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_noticed(share, tmp_path):
    path = write(tmp_path / 'epoch_1.pth')
    read_checkpoint(path)
    truncate(path, share)
    with pytest.raises(ValueError, match=r'cannot read .*epoch_1\.pth'):
        read_checkpoint(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = write(tmp_path / 'epoch_1.pth')
    flip_a_byte(path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth: .*damaged'):
        read_checkpoint(path)


def test_other_files_are_no_checkpoints(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_text('no checkpoint')
    with pytest.raises(ValueError, match=r'no file of torch|damaged'):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=r'missing\.pth'):
        read_checkpoint(tmp_path / 'missing.pth')
