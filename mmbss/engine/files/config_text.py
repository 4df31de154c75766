"""The text of a config that was written by a program: it means what it says, and is only read.

Cause: mmengine's reader runs a config, and before that fills in variables, ``{{...}}``, wherever
they stand in its text, also within a string, such as the name of a class.
"""

import ast
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError


def without_variables(code: str) -> str:
    r"""Code of literals, in whose strings mmengine's reader finds no variable.

    Examples:
        >>> print(without_variables("name = '{{$HOME:x}}'"))
        name = '{\x7b$HOME:x}}'
    """
    return code.replace('{{', r'{\x7b')


def read_written(path: Path) -> dict[str, Any]:
    """Read a config that mmengine has written, without running it.

    Args:
        path: A Python file of assignments of literals and ``dict(...)``, as ``Config.dump`` and the
            logs of a training leave it.

    Raises:
        ConfigError: If it is no such file.
    """
    try:
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
