"""Read the ``.npz`` files of anyone: numbers and texts, and nothing that runs."""

import sys
import textwrap
import zipfile
from math import prod
from pathlib import Path

import numpy as np

from mmbss.engine.errors import ConfigError, one_line
from mmbss.engine.files.regular import memory_size, opened

#: Arrays of more bytes than this, and so many times what they are compressed to, are an attack.
LARGE, COMPRESSION = 1 << 30, 100
READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of numbers and texts of an ``.npz`` file by their names.

    Raises:
        OSError: If the file cannot be opened.
        ConfigError: If it is anything else, damaged, or holds more than its size and the memory
            of this machine allow.
    """
    with opened(path) as (file, size):
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                total = sum(entry.file_size for entry in entries)
                if total > memory_size() or total > max(LARGE, COMPRESSION * size):
                    raise ValueError(f'it would fill {total / 2**30:.1f} GiB of memory')
                return {
                    entry.filename.removesuffix('.npy'): _read_array(archive, entry)
                    for entry in entries
                }
        # zipfile, zlib and NumPy each have errors of their own for damaged bytes
        except Exception as error:
            reason = textwrap.shorten(one_line(error), 300)
            raise ConfigError(f'{path} is no file of arrays, or is damaged ({reason})') from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as content:
        read_header = READ_HEADER.get(np.lib.format.read_magic(content))
        if read_header is None:
            raise ValueError('it is of another version')
        shape, by_columns, dtype = read_header(content)
        if dtype.kind not in 'biufcUS' or not dtype.itemsize:
            raise ValueError(f'{entry.filename} holds neither numbers nor texts, but {dtype}')
        count = prod(shape)
        if count * dtype.itemsize != entry.file_size - content.tell():
            raise ValueError(f'{entry.filename} has another size than it says')
        raw = np.empty(count * dtype.itemsize, np.uint8)
        if content.readinto(raw.data) != len(raw):  # type: ignore[attr-defined]
            raise ValueError(f'{entry.filename} ends early')
        content.read(1)  # at its end zipfile compares the checksum
    codes = raw.view(f'{dtype.str[0]}u4') if dtype.kind == 'U' else raw
    if codes.max(initial=0) > sys.maxunicode:
        raise ValueError(f'{entry.filename} holds texts that are none')
    # any other byte is no bool, and torch relies on that
    values = raw != 0 if dtype.kind == 'b' else raw.view(dtype)
    return values.reshape(shape, order='F' if by_columns else 'C')
