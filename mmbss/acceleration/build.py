"""Compile an operator when it is first needed, once for a machine and a version of torch."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from mmengine.logging import print_log

from mmbss.engine.errors import ConfigError

FLAGS = ('-O3', '-march=native', '-fopenmp', '-fno-math-errno', '-std=c++20', '-shared', '-fPIC')


def load_operator(source: Path) -> None:
    """Compile a C++ file that registers operators, if it has not been before, and load it.

    It may include the headers beside it.

    The result lies in the folder that ``TORCH_EXTENSIONS_DIR`` names, by default in
    ``~/.cache/mmbss``; it is moved there when it is complete, so that processes which compile at
    the same time do not meet.

    Raises:
        ConfigError: If there is no compiler, or it fails.
    """
    compiler = os.environ.get('CXX', 'c++')
    library = _folder() / f'{source.stem}-{_fingerprint(source, compiler)}.so'
    if not library.exists():
        if shutil.which(compiler) is None:
            raise ConfigError(
                f'winograd needs a C++ compiler, but there is no {compiler!r}: install g++ or '
                'clang, name one by the environment variable CXX, or leave winograd out'
            )
        print_log(f'compiling {source.name}, once for this machine', logger='current')
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            built = Path(folder, library.name)
            _compile(compiler, source, built)
            built.replace(library)
    torch.ops.load_library(library)


def _compile(compiler: str, source: Path, target: Path) -> None:
    # torch.utils.cpp_extension knows these too, but imports all of setuptools
    home = Path(torch.__file__).parent
    abi = f'-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}'
    torch_flags = (abi, f'-I{home}/include', f'-L{home}/lib', '-lc10', '-ltorch_cpu')
    # the compiler is the one the user has chosen
    done = subprocess.run(  # noqa: S603
        [compiler, *FLAGS, str(source), '-o', str(target), *torch_flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(
            f'{compiler} cannot compile {source.name}, leave winograd out or mend this: '
            f'{done.stderr[-2000:]}'
        )


def _folder() -> Path:
    return Path(os.environ.get('TORCH_EXTENSIONS_DIR', Path.home() / '.cache' / 'mmbss'))


def _fingerprint(source: Path, compiler: str) -> str:
    """What the result depends on; homes are shared by machines with other processors."""
    processor = (platform.machine(), torch.backends.cpu.get_cpu_capability())
    settings = repr((torch.__version__, processor, compiler, FLAGS))
    headers = sorted(source.parent.glob('*.h'))
    content = b''.join(file.read_bytes() for file in (source, *headers))
    return hashlib.sha256(content + settings.encode()).hexdigest()[:16]
