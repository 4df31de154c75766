"""Values as the lines of a config that a person would write."""

import keyword
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from mmbss.engine.files.config_text import without_variables

#: Longest line of a config.
WIDTH = 96


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
