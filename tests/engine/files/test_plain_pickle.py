"""Pickles made by hand: what torch's reader, or NumPy let into it, would do is refused here."""

import io
import struct
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.files.plain_pickle import Reader
from mmbss.engine.files.plain_values import STORAGES, RefusedPickleError
from mmbss.engine.files.torch_files import read_torch_file


def text(value):
    encoded = value.encode()
    return b'X' + struct.pack('<I', len(encoded)) + encoded


def number(value):
    return b'\x8a\x08' + struct.pack('<q', value)


def name(value):
    return b'c' + value.replace(' ', '\n').encode() + b'\n'


def many(*parts):
    return b'(' + b''.join(parts) + b't'


def call(function, *arguments):
    return name(function) + many(*arguments) + b'R'


def raw(content):
    return call('_codecs encode', text(content.decode('latin1')), text('latin1'))


def numbers(values):
    return many(*map(number, values))


def storage(kind='FloatStorage', key='0', count=4):
    return (
        many(text('storage'), name(f'torch {kind}'), text(key), text('cpu'), number(count)) + b'Q'
    )


def tensor(size=(4,), stride=(1,), offset=0, stored=None, metadata=b''):
    arguments = (number(offset), numbers(size), numbers(stride), b'\x89', b'N', metadata)
    return call('torch._utils _rebuild_tensor_v2', stored or storage(), *arguments)


def dtype(code='f8', state=b''):
    return call('numpy dtype', text(code), b'\x89', b'\x88') + state


def array(kind, content, shape=(1,)):
    new = call(
        'numpy.core.multiarray _reconstruct', name('numpy ndarray'), numbers((0,)), text('b')
    )
    return new + many(number(1), numbers(shape), kind, b'\x89', content) + b'b'


def address():
    return raw(struct.pack('<Q', 0x4141414141414141))


NEST = b')' + b'\x85' * 150_000
SUBARRAY = many(number(3), text('<'), many(dtype(), numbers((9,))), b'NN', *[number(-1)] * 3) + b'b'

# what becomes of each with torch.load, where NumPy's arrays are let in, is in brackets
REFUSED = {
    'array of a buffer [any object of any address]': (
        call('numpy ndarray', numbers((1,)), text('O'), address()),
        'calls what is no function',
    ),
    'array of objects [the same]': (array(dtype('O8'), address()), "array of 'O8'"),
    'sub-array in a dtype [memory beyond its own]': (
        array(dtype(state=SUBARRAY), raw(b'x' * 8)),
        'array of structures',
    ),
    'structured dtype': (array(dtype('V8'), address()), "array of 'V8'"),
    'date': (array(dtype('M8'), address()), "array of 'M8'"),
    'array larger than its bytes': (array(dtype(), raw(b'x' * 8), (9,)), 'another size'),
    'array of negative size': (array(dtype(), raw(b''), (-1,)), 'damaged'),
    'array without bytes': (array(dtype(), b']'), 'no plain array'),
    'array that is never filled': (
        call('numpy.core.multiarray _reconstruct', b'N', b')', b'N'),
        'array without values',
    ),
    'number larger than its bytes': (
        call('numpy.core.multiarray scalar', dtype(), raw(b'xx')),
        'damaged number',
    ),
    'nested tuple as a key [ends the interpreter]': (b'}' + NEST + b'Ns', 'key that is a tuple'),
    'nested tuple in a set [ends the interpreter]': (
        call('builtins set', b'](' + NEST + b'e'),
        'key that is a tuple',
    ),
    'nested tuple counted [ends the interpreter]': (
        call('collections Counter', b'](' + NEST + b'e'),
        'damaged',
    ),
    'nested tuple as a pair': (
        call('collections OrderedDict', b'](' + many(NEST, b'N') + b'e'),
        'key that is a tuple',
    ),
    'nested tuple as an encoding': (call('_codecs encode', text('a'), NEST), 'damaged'),
    'nested tuple': (NEST, 'too many containers'),
    'list in itself': (b']q\x00h\x00a', 'too many containers'),
    'lists of the same twice, 60 deep': (
        many(b']q\x00', b'](h\x00h\x00eq\x00' * 60),
        'grow beyond its size',
    ),
    'memory of its choice [16 GiB]': (call('builtins bytearray', number(1 << 34)), 'names'),
    'tensor of its choice [4 TiB]': (call('torch Tensor', number(1 << 42)), 'no function'),
    'tensor without memory [of any size]': (
        call('torch._utils _rebuild_meta_tensor_no_storage', b'NNNN'),
        'names',
    ),
    'sparse tensor': (call('torch._utils _rebuild_sparse_tensor', b'NN'), 'names'),
    'nested tensor': (call('torch._utils _rebuild_nested_tensor', b'NNNN'), 'names'),
    'tensor of a class': (call('torch._tensor _rebuild_from_type_v2', b'NNNN'), 'no function'),
    'tensor around another': (call('torch._utils _rebuild_wrapper_subclass', b'NNN'), 'names'),
    'quantised tensor': (call('torch._utils _rebuild_qtensor', b'NNN'), 'names'),
    'quantised storage': (tensor(stored=storage('QInt8Storage')), 'names'),
    'function': (call('os system', text('true')), "names 'os system'"),
    'function by getattr': (call('builtins getattr', name('torch Size'), text('a')), 'looks up'),
    'text copied again and again': (
        many(text('a' * 5000), b'q\x00', call('_codecs encode', b'h\x00', text('latin1')) * 60),
        'grow beyond its size',
    ),
    'set copied again and again': (
        many(b'](' + b'K\x01' * 2000 + b'eq\x00', call('builtins set', b'h\x00') * 60),
        'grow beyond its size',
    ),
    'other encoding': (call('_codecs encode', text('a'), text('zlib')), 'damaged'),
    'view beyond its storage': (tensor((5,)), 'beyond its storage'),
    'view far beyond it': (tensor(offset=1 << 40), 'beyond its storage'),
    'view before it': (tensor(offset=-1), 'strange layout'),
    'steps backwards': (tensor(stride=(-1,)), 'damaged'),
    'negative size': (tensor((-4,)), 'damaged'),
    'sizes that overflow': (tensor((1 << 31,) * 3, (0,) * 3), 'larger than its storage'),
    'one number as 4 GiB': (tensor((1 << 30,), (0,)), 'larger than its storage'),
    'nothing, of a huge size': (tensor((0, 1 << 62), (1, 1)), 'strange layout'),
    'sizes that are no numbers': (
        call('torch._utils _rebuild_tensor', storage(), number(0), many(text('a')), b')'),
        'damaged',
    ),
    'as many sizes as there are': (tensor((1,) * 100, (1,) * 100), 'damaged'),
    'fewer steps than sizes': (tensor((2, 2), (1,)), 'strange layout'),
    'conjugate': (tensor(metadata=b'}' + text('conj') + b'\x88s'), 'strange layout'),
    'storage larger than the file': (tensor(stored=storage(count=1 << 40)), 'beyond its size'),
    'storage of another size': (tensor(stored=storage(count=3)), 'two sizes'),
    'storage of negative size': (tensor(stored=storage(count=-1)), 'damaged'),
    'storage that is not there': (tensor(stored=storage(key='7')), 'KeyError'),
    'storage elsewhere': (tensor(stored=storage(key='../version')), 'KeyError'),
    'storage of two types': (many(tensor(), tensor(stored=storage('IntStorage'))), 'two sizes'),
    'tensor of a text': (tensor(stored=text('memory')), 'without a storage'),
    'tensor of a dict that looks like a storage': (
        tensor(stored=call('collections OrderedDict') + b'}' + text('dtype') + b'Nsb'),
        'damaged',
    ),
    'state of a text': (text('a') + b'}b', 'no array'),
    'adding to a tuple': (b')Na', 'no list'),
    'a key for a list': (b']NNs', 'no dict'),
    'a parameter of a text': (call('torch._utils _rebuild_parameter', b'NNN'), 'no tensor'),
    'a class as a value': (name('torch FloatStorage'), 'holds a Name'),
    'protocol 4': (b'\x8c\x01a', 'instruction SHORT_BINUNICODE'),
    'a stack that is empty': (b'0' * 3, 'POP'),
}


def archive(pickled, path, **entries):
    """What ``torch.save`` writes of four floats, with another pickle."""
    content = io.BytesIO()
    torch.save(dict(a=torch.arange(4.0)), content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, 'w') as new:
        for entry in old.namelist():
            own = pickled if entry.endswith('data.pkl') else old.read(entry)
            new.writestr(entry, entries.get(entry.rpartition('/')[2], own))
    return path


@pytest.mark.parametrize('case', REFUSED)
def test_it_is_refused(case, tmp_path):
    value, reason = REFUSED[case]
    path = archive(b'\x80\x02}' + text('a') + value + b's.', tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=rf'cannot read .*a\.pth: .*{reason}'):
        read_checkpoint(path)


def test_the_helpers_of_this_test_make_what_torch_would_read(tmp_path):
    value = tensor((2, 2), (2, 1)) + b'q\x00'
    path = archive(b'\x80\x02}' + text('a') + value + b's.', tmp_path / 'a.pth')
    assert torch.equal(torch.load(path)['a'], torch.arange(4.0).reshape(2, 2))
    assert torch.equal(read_checkpoint(path)['a'], torch.arange(4.0).reshape(2, 2))


def same(one, other):
    """Whether two values are the same, types, strides and all."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and (one.dtype, one.stride()) == (
            other.dtype,
            other.stride(),
        )
    if isinstance(one, dict):
        parts = [*one], [*other], getattr(one, '_metadata', 0) == getattr(other, '_metadata', 0)
        return parts[0] == parts[1] and parts[2] and same([*one.values()], [*other.values()])
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize('zipped', [True, False])
def test_what_torch_writes_is_read_as_torch_reads_it(tmp_path, zipped):
    module = torch.nn.BatchNorm1d(3)
    ones = torch.ones(4, 4)
    content = dict(
        state_dict=module.state_dict(),
        optimizer=torch.optim.SGD(module.parameters(), 0.1, momentum=0.9).state_dict(),
        kinds=[torch.ones(3, dtype=kind) for kind in STORAGES.values()],
        views=(ones, ones[1:, 2], ones.t()[:, 1:], ones[:0], torch.tensor(1.0).expand(5, 2)),
        numbers=[0, -1, 255, 65536, 1 << 40, -(1 << 70), 0.1, True, None, 'ä', b'\x00\xff'],
        others=[Counter(a=2), {1, 2}, OrderedDict(b=1), torch.Size([2, 3]), torch.device('cpu')],
        dtype=torch.float16,
        empty=[(), [], {}, torch.empty(0), torch.empty(2, 0, 3)],
    )
    if zipped:
        content['new'] = torch.arange(3).to(torch.uint16), torch.ones(2).to(torch.float8_e5m2)
    path = tmp_path / 'a.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(path)
    new = read.pop('new', ())
    expected = torch.load(path)
    for one, other in zip(new, expected.pop('new', ()), strict=True):
        assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))
    assert same(read, expected)
    assert read['state_dict']._metadata == module.state_dict()._metadata
    assert read['views'][0].data_ptr() == read['views'][2].data_ptr() - 16, 'they share memory'


def test_parameters_are_read_as_tensors(tmp_path):
    torch.save(dict(a=torch.nn.Parameter(torch.ones(2))), tmp_path / 'a.pth')
    assert same(read_checkpoint(tmp_path / 'a.pth'), dict(a=torch.ones(2)))


def test_attributes_of_tensors_are_left_out(tmp_path):
    """FSDP gives its tensors some, and a function of any name could be called for them."""
    tensor = torch.ones(3)
    tensor.note = 'a'
    torch.save(dict(a=tensor), tmp_path / 'a.pth')
    read = read_checkpoint(tmp_path / 'a.pth')['a']
    assert torch.equal(read, tensor)
    assert not hasattr(read, 'note')


def test_bools_are_0_or_1(tmp_path):
    torch.save(dict(a=torch.ones(64, dtype=torch.bool)), tmp_path / 'a.pth')
    content = (tmp_path / 'a.pth').read_bytes().replace(b'\x01' * 64, b'\xff' * 64)
    assert read_torch_file_without_checksums(content)['a'].view(torch.uint8).tolist() == [1] * 64


def read_torch_file_without_checksums(content):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipExtFile, '_update_crc', lambda *_: None)
        return read_torch_file(io.BytesIO(content), len(content))


@pytest.mark.parametrize(
    ('entries', 'reason'),
    [
        (dict(byteorder=b'big'), 'byte order'),
        ({'0': b'short'}, 'two sizes'),
        ({'0': b'x' * 17}, 'two sizes'),
    ],
)
def test_an_archive_that_does_not_fit_its_pickle_is_refused(tmp_path, entries, reason):
    path = archive(b'\x80\x02}' + text('a') + tensor() + b's.', tmp_path / 'a.pth', **entries)
    with pytest.raises(ValueError, match=reason):
        read_checkpoint(path)


def test_a_compressed_archive_is_refused(tmp_path):
    """One of 6 kB would fill 6 MB."""
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w', zipfile.ZIP_DEFLATED) as content:
        content.writestr('a/data.pkl', b'\x80\x02}' + b'q\x00' * 3_000_000 + b'.')
    with pytest.raises(ValueError, match='compressed'):
        read_checkpoint(tmp_path / 'a.pth')


def test_two_pickles_in_an_archive_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as content:
        content.writestr('a/data.pkl', b'\x80\x02}.')
        content.writestr('b/data.pkl', b'\x80\x02}.')
    with pytest.raises(ValueError, match='no file of torch'):
        read_checkpoint(tmp_path / 'a.pth')


def test_the_old_format_may_not_lie_about_its_storages(tmp_path):
    content = io.BytesIO()
    torch.save(dict(a=torch.arange(4.0)), content, _use_new_zipfile_serialization=False)
    whole = content.getvalue()
    place = len(whole) - 4 * 4 - 8
    assert whole[place : place + 8] == struct.pack('<q', 4)
    for damaged in (
        whole[:place] + struct.pack('<q', 1 << 40) + whole[place + 8 :],
        whole[:place] + struct.pack('<q', -1) + whole[place + 8 :],
        whole[:-1],
    ):
        with pytest.raises(RefusedPickleError):
            read_torch_file(io.BytesIO(damaged), len(damaged))


def test_the_reader_knows_no_numpy(tmp_path):
    """An array becomes a tensor, in the order that it had."""
    values = np.arange(6.0).reshape(2, 3)
    torch.save(dict(a=np.asfortranarray(values), b=values, c=np.array(True)), tmp_path / 'a.pth')
    read = read_checkpoint(tmp_path / 'a.pth')
    assert torch.equal(read['a'], torch.from_numpy(values))
    assert torch.equal(read['b'], torch.from_numpy(values))
    assert read['c'].dtype == torch.bool
    assert read['c'].ndim == 0


def test_a_pickle_ends_somewhere():
    with pytest.raises(RefusedPickleError):
        Reader(lambda *_: None, 10).read(io.BytesIO(b'\x80\x02N'))
