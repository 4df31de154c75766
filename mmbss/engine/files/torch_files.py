"""Read what ``torch.save`` has written, today's format and that of before 1.6, to the CPU."""

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from mmbss.engine.files.plain_pickle import Reader
from mmbss.engine.files.plain_values import RefusedPickleError, Storage, require

#: The first number in a file of the old format, and the second.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_torch_file(file: IO[bytes], size: int) -> Any:
    """Content of a file of ``torch.save``, of so many bytes: plain values and tensors.

    Raises:
        RefusedPickleError: If it is anything else, damaged, or would grow beyond its size.
    """
    begin = file.read(4)
    file.seek(0)
    try:
        if begin == b'PK\x03\x04':
            return _read_zip(file, size)
        return _read_legacy(file, size)
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, OSError) as error:
        raise RefusedPickleError(f'it is truncated or damaged ({error})') from error


class _Memory:
    """The storages of a file by their keys, of which none is larger than the rest of the file."""

    def __init__(self, size: int, fill: Callable[[str, Tensor], None] | None) -> None:
        self.left = size
        self.fill = fill
        self.storages: dict[str, Storage] = {}

    def load(self, dtype: torch.dtype, key: str, count: int) -> Storage:
        nbytes = count * dtype.itemsize
        if key not in self.storages:
            self.left -= nbytes
            require(self.left >= 0, 'it would grow beyond its size')
            memory = torch.empty(nbytes, dtype=torch.uint8)
            if self.fill is not None:
                self.fill(key, memory)
                normalise(memory.view(dtype))
            self.storages[key] = Storage(memory.untyped_storage(), dtype)
        storage = self.storages[key]
        same = storage.dtype == dtype and storage.memory.nbytes() == nbytes
        require(same, 'it holds a storage of two sizes')
        return storage


def normalise(tensor: Tensor) -> None:
    """Make every byte of bools 0 or 1, on which torch relies."""
    if tensor.dtype is torch.bool:
        tensor.view(torch.uint8).ne_(0)


def _read_zip(file: IO[bytes], size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [PurePosixPath(name) for name in entries if name.endswith('/data.pkl')]
        require(len(pickles) == 1, 'it is no file of torch.save')
        folder = pickles[0].parent
        require(f'{folder}/constants.pkl' not in entries, 'it is a script, no file of weights')

        def stored(name: str, nbytes: int | None = None) -> zipfile.ZipInfo:
            entry = entries[f'{folder}/{name}']
            plain = entry.compress_type == zipfile.ZIP_STORED and entry.file_size <= size
            require(plain, 'it is compressed, which torch.save never does')
            require(nbytes in (None, entry.file_size), 'it holds a storage of two sizes')
            return entry

        def fill(key: str, memory: Tensor) -> None:
            with archive.open(stored(f'data/{key}', len(memory))) as content:
                _fill(memory, content)
                content.read(1)  # at its end zipfile compares the checksum

        if f'{folder}/byteorder' in entries:
            order = archive.read(stored('byteorder')).decode('latin1')
            require(order == sys.byteorder, f'it was written with the byte order {order:.10}')
        pickled = archive.read(stored('data.pkl'))
        return Reader(_Memory(size, fill).load, size).read(io.BytesIO(pickled))


def _fill(memory: Tensor, content: IO[bytes]) -> None:
    target = memory.numpy().data
    while len(target):
        count = content.readinto(target)  # type: ignore[attr-defined]
        require(count, 'it is truncated')
        target = target[count:]


def _read_legacy(file: IO[bytes], size: int) -> Any:
    """Four pickles, the keys of the storages, and the storages."""
    memory = _Memory(size, None)

    def read() -> Any:
        return Reader(memory.load, size).read(file)

    require(read() == MAGIC and read() == PROTOCOL, 'it is no file of torch.save')
    system = read()
    little = type(system) is dict and system.get('little_endian') is (sys.byteorder == 'little')
    require(little, 'it was written with another byte order')
    content, keys = read(), read()
    names = type(keys) is list and all(type(key) is str for key in keys)
    require(names and sorted(memory.storages) == sorted(keys), 'it lacks storages')
    for key in keys:
        storage = memory.storages[key]
        count = int.from_bytes(file.read(8), sys.byteorder)
        target = torch.empty(0, dtype=torch.uint8).set_(storage.memory)
        require(count * storage.dtype.itemsize == len(target), 'it holds a storage of two sizes')
        _fill(target, file)
        normalise(target.view(storage.dtype))
    return content
