"""What the modules of a user's own say, so that a change of them is noticed."""

import ast
import hashlib
import site
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Where installed packages and Python's own modules lie, which have versions instead.
INSTALLED = tuple(
    Path(folder).resolve()
    for folder in {
        *(sysconfig.get_path(name) for name in ('purelib', 'platlib', 'stdlib')),
        site.getusersitepackages(),
    }
)


def own_modules(cfg: Mapping[str, Any]) -> list[str]:
    """Modules that a config imports, or names a teacher of, but the library's own.

    Examples:
        >>> teacher = dict(config='python:lab.nets:Wide', checkpoint='wide.pth')
        >>> own_modules(dict(custom_imports=dict(imports=['mmbss', 'lab.losses']),
        ...                  model=dict(teacher=teacher)))
        ['lab.losses', 'lab.nets']
    """
    given = (cfg.get('custom_imports') or {}).get('imports') or []
    named = [given] if isinstance(given, str) else [*given]
    model = cfg.get('model')
    named += _teachers(model.get('teacher') if isinstance(model, Mapping) else None)
    return sorted({each for each in named if each.partition('.')[0] != 'mmbss'})


def _teachers(teacher: Any) -> Iterator[str]:
    config = teacher.get('config') if isinstance(teacher, Mapping) else None
    for each in config if isinstance(config, (list, tuple)) else ():
        yield from _teachers(each)
    if isinstance(config, str) and config.startswith('python:'):
        yield config.removeprefix('python:').partition(':')[0]


def code_digests(modules: Iterable[str]) -> dict[str, str]:
    """Sixteen characters for each module that tell what it does from others; comments do not count.

    A package stands for all files below it. What is installed is left out, and so is what cannot
    be found or read.
    """
    found = {name: files_of(name) for name in modules}
    return {name: digest_of_code(files) for name, files in found.items() if files}


def files_of(module: str) -> list[Path]:
    """The Python files of a module that is not installed; none where there is no such module."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = [*map(Path, spec.submodule_search_locations or ())]
    files = [path for folder in folders for path in sorted(folder.rglob('*.py'))]
    if not folders and spec.origin is not None:
        files = [Path(spec.origin)]
    installed = (path.resolve().is_relative_to(folder) for path in files for folder in INSTALLED)
    return [] if any(installed) else [path for path in files if path.suffix == '.py']


def digest_of_code(files: Iterable[Path]) -> str:
    """Sixteen characters that tell the content of Python files from others."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        try:
            digest.update(ast.dump(ast.parse(content)).encode())
        except (SyntaxError, ValueError, RecursionError):  # perhaps never imported
            digest.update(content)
    return digest.hexdigest()[:16]
