"""Files that are no files, that would fill the memory or the disk, and what killed runs leave."""

import io
import multiprocessing
import os
import resource
import signal
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmbss.datasets import ArrayDataset
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.files import arrays, download
from mmbss.engine.files.arrays import read_arrays
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.files.checkpoints import AtomicLocalBackend
from mmbss.engine.files.regular import opened
from mmbss.engine.resume import find_newest
from mmbss.teachers.logit_cache import LogitCache


def write_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


STRANGE = dict(
    pipe=os.mkfifo,
    link_to_zeros=lambda path: path.symlink_to('/dev/zero'),
    link_to_a_pipe=lambda path: (os.mkfifo(f'{path}.pipe'), path.symlink_to(f'{path}.pipe')),
    link_to_itself=lambda path: path.symlink_to(path),
    link_to_nothing=lambda path: path.symlink_to(f'{path}.nothing'),
    folder=Path.mkdir,
    socket=write_socket,
)


def newest(folder):
    return find_newest(folder, folder, ('epoch_{}.pth',))


READERS = dict(
    checkpoint=('a.pth', read_checkpoint),
    weights=('a.safetensors', read_checkpoint),
    arrays=('a.npz', lambda path: ArrayDataset(str(path))),
    cache=('a.npz', LogitCache.load),
    resume=('epoch_9.pth', lambda path: newest(path.parent)),
)


@pytest.fixture
def at_once():
    """Whatever waits, or reads without end, is ended."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.parametrize('kind', STRANGE)
@pytest.mark.parametrize('way', READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, way, kind, at_once):
    monkeypatch.chdir(tmp_path)  # a path of a socket may not be long
    name, read = READERS[way]
    STRANGE[kind](Path(name))
    with pytest.raises(ConfigError, match=name.partition('.')[0]):
        read(Path(name))


def test_a_pipe_does_not_keep_the_checkpoint_before_it_from_being_found(tmp_path, at_once):
    torch.save(dict(meta=dict(epoch=1, iter=2)), tmp_path / 'epoch_1.pth')
    os.mkfifo(tmp_path / 'epoch_2.pth')
    assert newest(tmp_path) == tmp_path / 'epoch_1.pth'


@pytest.mark.parametrize('way', ['checkpoint', 'weights', 'arrays'])
def test_what_is_larger_than_the_memory_is_refused(tmp_path, way, at_once):
    name, read = READERS[way]
    with (tmp_path / name).open('wb') as file:
        file.truncate(1 << 43)  # 8 TiB of nothing, which take no room
    with pytest.raises(ConfigError, match='larger than the memory'):
        read(tmp_path / name)


def test_a_link_to_a_file_is_followed(tmp_path):
    torch.save(dict(a=1), tmp_path / 'a.pth')
    (tmp_path / 'b.pth').symlink_to(tmp_path / 'a.pth')
    assert read_checkpoint(tmp_path / 'b.pth') == dict(a=1)


# ---------------------------------------------------------------- files of arrays


def header(text, version=(1, 0)):
    encoded = text.encode() + b'\n'
    size = struct.pack('<H' if version == (1, 0) else '<I', len(encoded))
    return b'\x93NUMPY' + bytes(version) + size + encoded


def npy(descr="'<f8'", shape='(2,)', content=b'\x00' * 16, order=False, **how):
    return (
        header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}", **how) + content
    )


ARRAYS = {
    'larger than its content': (npy(shape='(3,)'), 'another size'),
    'smaller than its content': (npy(shape='(1,)'), 'another size'),
    'of 8 EiB': (npy(shape=f'({1 << 60},)'), 'another size'),
    'of a size beyond all': (npy(shape=f'({1 << 62}, {1 << 62})'), 'another size'),
    'of a negative size': (npy(shape='(-2,)'), 'another size'),
    'of two negative sizes': (npy(shape='(-1, -2)'), ''),
    'of objects': (npy("'|O'"), 'neither numbers nor texts'),
    'of structures': (npy("[('a', '<f8')]"), 'neither numbers nor texts'),
    'of structures with objects': (npy("[('a', '|O')]"), 'neither numbers nor texts'),
    'of sub-arrays': (npy("('<f8', (2,))"), 'another size|neither numbers'),
    'of dates': (npy("'<M8[s]'"), 'neither numbers nor texts'),
    'of nothing': (npy("'<U0'", content=b''), 'neither numbers nor texts'),
    'of texts that are none': (npy("'<U2'", '(2,)', b'\xff' * 16), 'texts that are none'),
    'of texts that are none, bytes reversed': (
        npy("'>U2'", '(2,)', b'\x00\x11\x00\x00' * 4),
        'texts that are none',
    ),
    'of texts, bytes reversed': (npy("'>U2'", '(2,)', b'\x00\x10\xff\xff' * 4), None),
    'of bools that are none': (npy("'|b1'", '(2,)', b'\xff\x02'), None),
    'with code in its header': (npy("__import__('os').abort()"), 'malformed node'),
    'with a nested header': (header('(' * 9000), ''),
    'with signs in its header': (header('-' * 9000 + '1'), ''),
    'with a long header': (header(' ' * 60000), ''),
    'of version 2': (npy(version=(2, 0)), None),
    'of version 3': (npy(version=(3, 0)), 'another version'),
    'of version 9': (npy(version=(9, 9)), ''),
    'without a header': (b'\x93NUMPY\x01\x00', ''),
    'empty': (b'', ''),
}


@pytest.mark.parametrize('kind', ARRAYS)
def test_arrays(tmp_path, kind):
    content, reason = ARRAYS[kind]
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('images.npy', content)
    if reason is None:
        (array,) = read_arrays(tmp_path / 'a.npz').values()
        assert len(array) == 2
        if array.dtype == bool:
            assert array.view(np.uint8).tolist() == [1, 1]
    else:
        with pytest.raises(ConfigError, match=reason):
            read_arrays(tmp_path / 'a.npz')


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / 'a.npz', images=np.zeros((1000, 1000)))
    assert read_arrays(tmp_path / 'a.npz')['images'].shape == (1000, 1000)
    monkeypatch.setattr(arrays, 'LARGE', 1 << 20)
    with pytest.raises(ConfigError, match='would fill'):
        read_arrays(tmp_path / 'a.npz')
    monkeypatch.setattr(arrays, 'memory_size', lambda: 1 << 20)
    with pytest.raises(ConfigError, match='would fill'):
        read_arrays(tmp_path / 'a.npz')


def test_an_archive_that_lies_about_its_sizes_is_refused(tmp_path):
    """It says 144 bytes, and would unpack to 100 MB."""
    whole = npy(shape='(12500000,)', content=b'')
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(whole) + packer.compress(bytes(100_000_000)) + packer.flush()
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as archive:
        archive.writestr('images.npy', packed)
    data = bytearray(content.getvalue())
    directory = data.index(b'PK\x01\x02')
    for place in (8, directory + 10):
        data[place : place + 2] = struct.pack('<H', zipfile.ZIP_DEFLATED)
    for place in (22, directory + 24):
        data[place : place + 4] = struct.pack('<I', 144)
    (tmp_path / 'a.npz').write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=r'a\.npz'):
        read_arrays(tmp_path / 'a.npz')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path, save):
    arrays = dict(
        images=np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        columns=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        big=np.arange(3, dtype='>i4'),
        classes=np.array(['a', 'öß']),
        one=np.asarray('me'),
        flags=np.array([True, False]),
        none=np.zeros((0, 3)),
    )
    save(tmp_path / 'a.npz', **arrays)
    read = read_arrays(tmp_path / 'a.npz')
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
    assert read['images'].flags.writeable


# ---------------------------------------------------------------- safetensors


def safetensors(text, content=b'', size=None):
    encoded = text.encode()
    return struct.pack('<Q', len(encoded) if size is None else size) + encoded + content


ONE = '{"a":{"dtype":"F32","shape":[%s],"data_offsets":[%s]}}'


@pytest.mark.parametrize(
    'content',
    [
        safetensors(ONE % ('1', '0,4'), b'xxxx', size=1 << 62),
        safetensors(ONE % ('1', '0,4'), b'xxxx', size=1 << 27),
        safetensors(ONE % ('9', '0,4'), b'xxxx'),
        safetensors(ONE % ('1', '0,400'), b'xxxx'),
        safetensors(ONE % ('1', '4,0'), b'xxxx'),
        safetensors(ONE % ('4611686018427387904,4', '0,4'), b'xxxx'),
        safetensors(ONE % ('-1', '0,4'), b'xxxx'),
        safetensors(ONE.replace('F32', 'PICKLE') % ('1', '0,4'), b'xxxx'),
        safetensors('[' * 100_000),
        safetensors('{"a":1}'),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, content):
    (tmp_path / 'a.safetensors').write_bytes(content)
    with pytest.raises(ConfigError, match=r'a\.safetensors'):
        read_checkpoint(tmp_path / 'a.safetensors')


def test_bools_of_safetensors_are_0_or_1(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file(dict(a=torch.ones(8, dtype=torch.bool)), path)
    path.write_bytes(path.read_bytes().replace(b'\x01' * 8, b'\xff' * 8))
    assert read_checkpoint(path)['a'].view(torch.uint8).tolist() == [1] * 8


def test_safetensors_bring_the_names_of_their_classes(tmp_path):
    path, state = tmp_path / 'a.safetensors', dict(a=torch.ones(2))
    save_file(state, path, dict(classes='["cat", "dog"]', mmbss='1'))
    content = read_checkpoint(path)
    assert content['meta'] == dict(dataset_meta=dict(classes=['cat', 'dog']))
    torch.testing.assert_close(content['state_dict'], state)
    for metadata in (dict(format='pt'), None, dict(classes='cat,dog')):  # those of others
        save_file(state, path, metadata)
        torch.testing.assert_close(read_checkpoint(path), state)
    for classes in ('["cat", 1]', '{}', 'cat', '["\\ud800"]', '[' * 100_000):
        save_file(state, path, dict(classes=classes, mmbss='1'))
        with pytest.raises(ConfigError, match=r'a\.safetensors'):
            read_checkpoint(path)


# ---------------------------------------------------------------- disks


def on_a_full_disk(write, path, connection):
    """No file may grow beyond 1 kB, as if the disk had no more room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    with pytest.raises(ConfigError) as error:
        write(path)
    connection.send(str(error.value))


def save_cache(path):
    rows = torch.arange(1000)
    LogitCache(rows, torch.zeros(1000, 9), torch.zeros(1000, dtype=torch.float64), 'me').save(path)


def put(path):
    AtomicLocalBackend().put(b'x' * 10_000, path)


def fetch(path, url='https://example.org/a.pth'):
    class Response(io.BytesIO):
        headers = {}

    class Opener:
        def open(self, *_, **__):
            return Response(b'x' * 10_000)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, 'build_opener', lambda _: Opener())
        patch.setattr(torch.hub, 'get_dir', lambda: str(path.parent))
        return download.download(url)


@pytest.mark.parametrize('write', [put, save_cache, fetch])
def test_a_full_disk_is_one_line_and_leaves_the_earlier_file_and_no_part(tmp_path, write):
    (tmp_path / 'a.npz').write_bytes(b'earlier')
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=on_a_full_disk, args=(write, tmp_path / 'a.npz', sender))
    process.start()
    process.join(60)
    assert receiver.poll()
    message = receiver.recv()
    assert 'could not be written' in message
    assert 'make room' in message
    assert '\n' not in message
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == [tmp_path / 'a.npz']
    assert (tmp_path / 'a.npz').read_bytes() == b'earlier'


def test_files_of_one_name_and_two_servers_are_kept_apart(tmp_path):
    urls = [
        f'https://{host}/{path}'
        for host in ('a.org', 'b.org', 'a.org:444')
        for path in ('x/net.pth', 'y/net.pth', 'x/net.pth?v=2')
    ]
    paths = {fetch(tmp_path / 'a', url) for url in urls}
    assert len(paths) == len(urls)
    assert {path.name for path in paths} == {'net.pth'}
    assert fetch(tmp_path / 'a', urls[0]) in paths


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path):
    process = multiprocessing.get_context('fork').Process(
        target=die_while_writing, args=(tmp_path,)
    )
    process.start()
    process.join()
    (left,) = (path.name for path in tmp_path.iterdir())
    assert left.startswith('.a.npz')
    (other := tmp_path / left.replace('a.npz', 'b.npz')).touch()
    running = tmp_path / left.replace(f'-{process.pid}.', f'-{os.getppid()}.')
    running.touch()
    elsewhere = tmp_path / '.a.npz.another_machine-4711.part'
    elsewhere.touch()
    with whole_file(tmp_path / 'a.npz') as part:
        part.write_bytes(b'a')
    assert {*tmp_path.iterdir()} == {other, running, elsewhere, tmp_path / 'a.npz'}


def die_while_writing(folder):
    with whole_file(folder / 'a.npz') as part:
        part.write_bytes(b'half')
        os._exit(1)


def test_a_disk_that_is_full_is_one_line_wherever_it_is_noticed():
    full = pytest.raises(SystemExit, match=r'error: a file could not be written .*No space left')
    with full as caught, readable_errors(), Path('/dev/full').open('w') as file:
        file.write('config')
    assert '\n' not in str(caught.value)
    with pytest.raises(FileNotFoundError), readable_errors():
        Path('/nothing').read_text()


@pytest.mark.parametrize('place', ['folder', 'file/below', 'x' * 300])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, place):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    with (
        pytest.raises(ConfigError, match='could not be written'),
        whole_file(tmp_path / place) as part,
    ):
        part.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']


def test_an_opened_file_is_closed(tmp_path):
    (tmp_path / 'a').write_bytes(b'abc')
    with opened(tmp_path / 'a') as (file, size):
        assert (file.read(), size) == (b'abc', 3)
        descriptor = file.fileno()
    with pytest.raises(OSError, match='descriptor'):
        os.fstat(descriptor)
