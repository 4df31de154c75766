"""Download files over https, once, and check them."""

import hashlib
import re
import shutil
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch

from mmbss.engine.errors import ConfigError, FileError, one_line
from mmbss.engine.files.atomic import whole_file

#: OpenMMLab names its checkpoints after the first digits of their SHA-256.
CHECKSUM = re.compile(r'-([0-9a-f]{8})\.pth$')
#: Seconds without an answer after which a download is given up.
TIMEOUT = 60


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


class _HttpsOnly(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _check_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
