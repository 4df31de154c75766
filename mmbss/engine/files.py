"""Read files of anyone: nothing that is in them runs, and what cannot be read is named."""

import hashlib
import pickle
import re
import shutil
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch

from mmbss.engine.atomic import whole_file
from mmbss.engine.errors import ConfigError, FileError, MissingFileError
from mmbss.engine.safe_globals import allow_mmengine_checkpoints

#: OpenMMLab names its checkpoints after the first digits of their SHA-256.
CHECKSUM = re.compile(r'-([0-9a-f]{8})\.pth$')
#: Seconds without an answer after which a download is given up.
TIMEOUT = 60


def read_checkpoint(source: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Content of a checkpoint; a pickle that would run code is refused.

    Args:
        source: Path or ``https://`` URL of a torch file, or of a ``.safetensors`` file.
        map_location: See ``torch.load``; a ``.safetensors`` file is read to the CPU.

    Raises:
        MissingFileError: If there is no such file.
        FileError: If the file cannot be downloaded.
        ConfigError: If it is no checkpoint, holds more than weights and plain values, is not its
            checksum's, or would come over another protocol than https.
    """
    path = download(str(source)) if '://' in str(source) else Path(source).expanduser()
    if not path.is_file():
        raise MissingFileError(f'no file {str(source)!r}')
    try:
        content = _load(path, map_location)
    except ImportError:
        raise
    except Exception as error:
        reason = _reason(error)
        # torch's own messages advise to load the file with its safety switched off
        if isinstance(error, pickle.UnpicklingError) or 'weights_only' in reason:
            reason = 'it is no file of weights alone'
        raise ConfigError(f'cannot read {source}: {reason}') from error
    state = content.get('state_dict', content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ConfigError(f'cannot read {source}: it holds a {type(state).__name__}, no weights')
    return content


def _load(path: Path, map_location: Any) -> Any:
    if path.suffix == '.safetensors':
        from safetensors.torch import load_file

        return load_file(path)
    # once more: mmengine of the onedl fork withdraws the permission after a load of its own
    allow_mmengine_checkpoints()
    return torch.load(path, map_location=map_location, weights_only=True)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by their names; pickled objects are refused.

    Raises:
        OSError: If the file cannot be opened.
        ConfigError: If it is anything else, or damaged.
    """
    with Path(path).open('rb') as file:
        try:
            with np.lib.npyio.NpzFile(file, allow_pickle=False) as npz:
                return {name: npz[name] for name in npz.files}
        # zipfile, zlib and NumPy each have errors of their own for damaged bytes
        except Exception as error:
            raise ConfigError(
                f'{path} is no file of arrays, or is damaged ({_reason(error)})'
            ) from error


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _HttpsOnly(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _check_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
    file = Path(torch.hub.get_dir(), 'checkpoints', Path(urlsplit(url).path).name)
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
    except URLError as error:
        raise FileError(f'cannot download {url}: {error}') from error
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
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if not digest.startswith(named[1]):
        raise ConfigError(
            f'{url}: its name says that its SHA-256 starts with {named[1]}, but that of {file} '
            f'starts with {digest[:8]}: the file is damaged or another one; remove it and try again'
        )
