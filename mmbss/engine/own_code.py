"""What the modules of a user's own say, so that a change of them is noticed."""

import ast
import hashlib
import site
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.files.parsing import PARSING

#: The libraries' own modules have versions.
LIBRARIES = ('mmengine', 'mmpretrain', 'mmbss')
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
    named, model = custom_imports_of(cfg), cfg.get('model')
    named += _teachers(model.get('teacher') if isinstance(model, Mapping) else None)
    return sorted({each for each in named if each.partition('.')[0] != 'mmbss'})


def custom_imports_of(cfg: Mapping[str, Any]) -> list[str]:
    """Modules that a config imports."""
    given = (cfg.get('custom_imports') or {}).get('imports') or []
    return [given] if isinstance(given, str) else [*given]


def _teachers(teacher: Any) -> Iterator[str]:
    config = teacher.get('config') if isinstance(teacher, Mapping) else None
    for each in config if isinstance(config, (list, tuple)) else ():
        yield from _teachers(each)
    if isinstance(config, str) and config.startswith('python:'):
        yield config.removeprefix('python:').partition(':')[0]
    elif isinstance(config, str) and config.endswith('.py') and Path(config).is_file():
        # whoever builds the teacher says what is wrong with it
        with PARSING, suppress(Exception):
            yield from custom_imports_of(Config.fromfile(config, import_custom_modules=False))


def code_digests(modules: Iterable[str]) -> dict[str, str]:
    """Sixteen characters for each module that tell what it does from others.

    What it imports counts with it; comments, docstrings and what is installed do not. Modules that
    cannot be found are left out.
    """
    found = {name: files_of(name) for name in modules}
    return {name: digest_of_code(files) for name, files in found.items() if files}


def files_of(module: str) -> list[Path]:
    """The Python files of a module, and of all that it imports and is not installed."""
    files: dict[Path, None] = {}
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition('.')[0] in LIBRARIES:
            continue
        seen.add(name)
        spec = spec_of(name)
        if spec is None or spec.origin is None or not is_own(Path(spec.origin)):
            continue
        path = Path(spec.origin)
        files[path] = None
        is_package = spec.submodule_search_locations is not None
        waiting += imported(path, name if is_package else name.rpartition('.')[0])
        waiting.append(name.rpartition('.')[0])  # Python runs the package first
    return [*files]


def spec_of(module: str) -> ModuleSpec | None:
    """Where a module lies, without running it or a package around it; None where there is none."""
    top, *parts = module.split('.')
    try:
        spec = find_spec(top) if top else None
    except (ImportError, ValueError):
        return None
    name = top
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f'{name}.{part}'
        spec = PathFinder.find_spec(name, [*spec.submodule_search_locations])
    return spec


def is_own(path: Path) -> bool:
    """Whether a file is Python's source and not of an installed package."""
    path = path.resolve()
    return path.suffix == '.py' and not any(path.is_relative_to(each) for each in INSTALLED)


def imported(path: Path, package: str) -> Iterator[str]:
    """Names of all that a file may import, in functions too.

    Args:
        path: The file.
        package: The package that it is in, from which ``.`` counts.
    """
    tree = parsed(path.read_bytes())
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split('.')[: len(package.split('.')) + 1 - node.level]
            begin = '.'.join([*(above if node.level else ()), *filter(None, [node.module])])
            yield begin
            yield from (f'{begin}.{alias.name}' for alias in node.names)


def parsed(content: bytes) -> ast.AST | None:
    """What a file says; None where no Python reads it."""
    try:
        with PARSING:
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return None


def digest_of_code(files: Iterable[Path]) -> str:
    """Sixteen characters that tell what Python files do from others, in whatever order."""
    digests = []
    for path in files:
        content = path.read_bytes()
        tree = parsed(content)
        text = content if tree is None else repr(shape(tree)).encode()
        digests.append(hashlib.sha256(text).hexdigest())
    return hashlib.sha256(repr(sorted(digests)).encode()).hexdigest()[:16]


def shape(node: Any) -> Any:
    r"""A syntax tree without docstrings, places and empty fields, which versions of Python add.

    Examples:
        >>> one = ast.parse("def f():\n 'Says.'\n return (1)")
        >>> other = ast.parse('def f(): return 1  # said')
        >>> shape(one) == shape(other)
        True
    """
    if isinstance(node, list):
        return [shape(each) for each in node]
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            fields['body'] = node.body[1:]
    kept = {name: shape(part) for name, part in fields.items() if part not in (None, [])}
    return type(node).__name__, kept
