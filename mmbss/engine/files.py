"""Read files of anyone: nothing that is in them runs, and what cannot be read is named."""

import hashlib
import json
import os
import re
import shutil
import stat
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from math import prod
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch

from mmbss.engine import zoo
from mmbss.engine.atomic import whole_file
from mmbss.engine.errors import ConfigError, FileError, MissingFileError, one_line
from mmbss.engine.finite import named_tensors
from mmbss.engine.torch_files import normalise, read_torch_file

#: OpenMMLab names its checkpoints after the first digits of their SHA-256.
CHECKSUM = re.compile(r'-([0-9a-f]{8})\.pth$')
#: Seconds without an answer after which a download is given up.
TIMEOUT = 60
#: Arrays of more bytes than this, and so many times what they are compressed to, are an attack.
LARGE, COMPRESSION = 1 << 30, 100
READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file that is one, or a link to one, and not larger than this machine's memory.

    Yields:
        The file, and its bytes.

    Raises:
        OSError: If it cannot be opened.
        ConfigError: If it is a pipe, a device, a folder, or too large.
    """
    # O_NONBLOCK: not to wait until somebody writes into a pipe
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f'{path} is no file, but a folder, a pipe or a device')
        if status.st_size > memory_size():
            raise ConfigError(f'{path} is larger than the memory of this machine')
        with os.fdopen(descriptor, 'rb', closefd=False) as file:
            yield file, status.st_size
    finally:
        os.close(descriptor)


def memory_size() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def read_checkpoint(source: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Content of a checkpoint: tensors and plain values; a pickle of anything else is refused.

    Args:
        source: Path or ``https://`` URL of a torch file, or of a ``.safetensors`` file; or
            ``mmbss://NAME`` of a model of the zoo.
        map_location: Device of the tensors; None stands for the CPU.

    Raises:
        MissingFileError: If there is no such file.
        FileError: If the file cannot be downloaded.
        ConfigError: If it is no checkpoint, holds more than weights and plain values, is not its
            checksum's, or would come over another protocol than https.
    """
    path = _local(str(source))
    try:
        with opened(path) as (file, size):
            content: Any
            if path.suffix == '.safetensors':
                content = read_safetensors(file.read())
            else:
                content = read_torch_file(file, size)
    except FileNotFoundError as error:
        raise MissingFileError(f'no file {str(source)!r}') from error
    except ImportError:
        raise
    except Exception as error:
        reason = textwrap.shorten(one_line(error), 300)
        raise ConfigError(f'cannot read {source}: {reason}') from error
    state = content.get('state_dict', content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ConfigError(f'cannot read {source}: it holds a {type(state).__name__}, no weights')
    device = torch.device(map_location or 'cpu')
    for _, tensor in named_tensors(content) if device.type != 'cpu' else ():
        tensor.data = tensor.to(device)
    return content


def trained_classes(meta: Any) -> tuple[str, ...] | None:
    """Names of the classes that a checkpoint was trained on, None where its ``meta`` has none.

    Examples:
        >>> trained_classes(dict(dataset_meta=dict(classes=['cat', 'dog'])))
        ('cat', 'dog')
        >>> trained_classes(dict(dataset_meta=dict(classes=5))) is None  # of somebody else
        True
    """
    of_data = meta.get('dataset_meta') if isinstance(meta, dict) else None
    named = of_data.get('classes') if isinstance(of_data, dict) else None
    return tuple(map(str, named)) if named and isinstance(named, list | tuple) else None


def read_safetensors(content: bytes) -> dict[str, Any]:
    """Weights, with the names of their classes where :mod:`mmbss.export` wrote them.

    Returns:
        The state dict alone, or ``state_dict`` and ``meta`` as in a checkpoint of mmpretrain.

    Raises:
        ValueError: If the names are no list of texts.
    """
    from safetensors.torch import load

    state = load(content)
    for tensor in state.values():
        normalise(tensor)
    length = int.from_bytes(content[:8], 'little')
    metadata = json.loads(content[8 : 8 + length]).get('__metadata__') or {}
    if not {'classes', 'mmbss'} <= metadata.keys():
        return state
    classes = json.loads(metadata['classes'])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError('its classes are no list of names')
    ''.join(classes).encode()  # halves of characters, which nothing can print
    return dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes)))


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


class _HttpsOnly(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _check_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _local(source: str) -> Path:
    if source.startswith(zoo.SCHEME):
        return zoo.weights_of(source)
    return download(source) if '://' in source else Path(source).expanduser()


def download(url: str) -> Path:
    """Download a file into torch's cache, unless it is there, and check its checksum.

    Args:
        url: ``https://`` URL. If the name ends in ``-<8 hexadecimal digits>.pth``, these are the
            first of the file's SHA-256.

    Raises:
        FileError: If it cannot be downloaded, or only in part.
        ConfigError: If the URL, or one that it leads to, is not https, or the checksum differs.
    """
    _check_https(url)
    # not by its name alone, which another server's file may have too
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    file = Path(torch.hub.get_dir(), 'checkpoints', key, Path(urlsplit(url).path).name)
    if not file.is_file():
        with whole_file(file) as part:
            _fetch(url, part)
            _check_checksum(url, part)
    _check_checksum(url, file)
    return file


def _fetch(url: str, target: Path) -> None:
    try:
        with (
            build_opener(_HttpsOnly).open(url, timeout=TIMEOUT) as response,
            target.open('wb') as file,
        ):
            shutil.copyfileobj(response, file)
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise FileError(f'cannot download {url}: {one_line(error)}') from error
    length = response.headers.get('Content-Length')
    if length is not None and int(length) != target.stat().st_size:
        raise FileError(f'{url}: got {target.stat().st_size} of {length} bytes; try again')


def _check_https(url: str) -> None:
    if urlsplit(url).scheme != 'https':
        raise ConfigError(
            f'{url} is not downloaded: only https is safe from changes on the way; for any other '
            'source, download the file yourself and give its path'
        )


def _check_checksum(url: str, file: Path) -> None:
    named = CHECKSUM.search(Path(urlsplit(url).path).name)
    if named is None:
        return
    with file.open('rb') as content:
        digest = hashlib.file_digest(content, 'sha256').hexdigest()
    if not digest.startswith(named[1]):
        raise ConfigError(
            f'{url}: its name says that its SHA-256 starts with {named[1]}, but that of {file} '
            f'starts with {digest[:8]}: the file is damaged or another one; remove it and try again'
        )
