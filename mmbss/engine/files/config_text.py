"""The text of a config that a program writes: it means what it says, and is only read.

Cause: mmengine's reader runs a config, and before that fills in variables, ``{{...}}``, wherever
they stand in its text, also within a string, such as the name of a class.
"""

import ast
import keyword
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.parsing import PARSING

#: Longest line of a config.
WIDTH = 96


def without_variables(code: str) -> str:
    r"""Code of literals, in whose strings mmengine's reader finds no variable.

    Examples:
        >>> print(without_variables("name = '{{$HOME:x}}'"))
        name = '{\x7b$HOME:x}}'
    """
    return code.replace('{{', r'{\x7b')


def as_code(value: Any, room: float = WIDTH, indent: int = 0) -> str:
    """A value of a config as code.

    Args:
        value: Dicts, lists and tuples of plain values.
        room: Characters that the line which it begins on has left.
        indent: Spaces before that line.

    Examples:
        >>> print(as_code(dict(type='KDLoss', temperature=4.0)))
        dict(type='KDLoss', temperature=4.0)
        >>> print(as_code({'two words': [1, 2]}))
        {'two words': [1, 2]}
    """
    items: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        has_names = all(isinstance(key, str) and is_argument(key) for key in value)
        begin, end = ('dict(', ')') if has_names else ('{', '}')
        items = [
            (f'{key}=' if has_names else f'{as_code(key)}: ', item) for key, item in value.items()
        ]
    elif isinstance(value, (list, tuple)):
        begin, end = ('[', ']') if isinstance(value, list) else ('(', ')')
        items = [('', item) for item in value]
    else:
        return without_variables(repr(value))
    comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    line = ', '.join(name + as_code(item, math.inf) for name, item in items)
    if len(begin + line + comma + end) <= room:
        return begin + line + comma + end
    inner = indent + 4
    lines = (
        f'{" " * inner}{name}{as_code(item, WIDTH - inner - len(name) - 1, inner)},\n'
        for name, item in items
    )
    return f'{begin}\n{"".join(lines)}{" " * indent}{end}'


def is_argument(name: str) -> bool:
    """Whether an argument of a call may have that name.

    Examples:
        >>> is_argument('lr'), is_argument('lambda'), is_argument('two words')
        (True, False, False)
    """
    return name.isidentifier() and not keyword.iskeyword(name)


def assignment(name: str, value: Any) -> str:
    r"""A setting at the top of a config.

    Examples:
        >>> assignment('val_cfg', {})
        'val_cfg = dict()\n'
    """
    return f'{name} = {as_code(value, WIDTH - len(name) - 3)}\n'


def comment(text: str) -> str:
    r"""Lines of a comment.

    Examples:
        >>> comment('what is chosen')
        '# what is chosen\n'
    """
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return without_variables(''.join(f'# {line}\n' for line in lines))


def read_written(path: Path) -> dict[str, Any]:
    """Read a config that mmbss or mmengine has written, without running it.

    Args:
        path: A Python file of assignments of literals and ``dict(...)``, as ``Config.dump`` and the
            logs of a training leave it.

    Raises:
        ConfigError: If it is no such file.
    """
    try:
        with PARSING:
            statements = ast.parse(path.read_text(encoding='utf-8')).body
        return dict(map(_assignment, statements))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f'{path}: {type(error).__name__}: it is no config that a training has written: restore '
            'it, or leave the folder out'
        ) from error


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, _value(value)
    raise ValueError


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as names], keywords=[]):
            return _value(names)
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=named):
            if all(each.arg for each in named):
                return {str(each.arg): _value(each.value) for each in named}
        case ast.Dict(keys=keys, values=values):
            if None not in keys:
                read = (ast.literal_eval(key) for key in keys if key)
                return dict(zip(read, map(_value, values), strict=True))
        case ast.List(elts=items):
            return [*map(_value, items)]
        case ast.Tuple(elts=items):
            return tuple(map(_value, items))
    return ast.literal_eval(node)
