"""Values as the lines of a config that a person would write."""

from collections.abc import Mapping
from typing import Any

#: Longest line of a config.
WIDTH = 96


def as_code(value: Any, indent: int = 0, taken: int = 0) -> str:
    """A value of a config as code.

    Args:
        value: Dicts, lists and tuples of plain values.
        indent: Spaces before the line that it begins on.
        taken: Characters that stand before it on that line.

    Examples:
        >>> print(as_code(dict(type='KDLoss', temperature=4.0)))
        dict(type='KDLoss', temperature=4.0)
        >>> print(as_code({'two words': [1, 2]}))
        {'two words': [1, 2]}
    """
    line = _on_one_line(value)
    if indent + taken + len(line) < WIDTH or not isinstance(value, (Mapping, list, tuple)):
        return line
    begin, end = ('[', ']') if isinstance(value, list) else ('(', ')')
    inner, items = indent + 4, []
    if isinstance(value, Mapping):
        is_plain = _has_names(value)
        begin, end = ('dict(', ')') if is_plain else ('{', '}')
        for key, item in value.items():
            name = f'{key}=' if is_plain else f'{key!r}: '
            items.append(name + as_code(item, inner, len(name) + 1))
    else:
        items = [as_code(item, inner, 1) for item in value]
    lines = ''.join(f'{" " * inner}{item},\n' for item in items)
    return f'{begin}\n{lines}{" " * indent}{end}'


def assignment(name: str, value: Any) -> str:
    r"""A setting at the top of a config.

    Examples:
        >>> assignment('val_cfg', {})
        'val_cfg = dict()\n'
    """
    return f'{name} = {as_code(value, taken=len(name) + 3)}\n'


def comment(text: str) -> str:
    r"""Lines of a comment.

    Examples:
        >>> comment('what is chosen')
        '# what is chosen\n'
    """
    lines, line = [], '#'
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = '#'
        line += f' {word}'
    return '\n'.join([*lines, line]) + '\n'


def _has_names(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)


def _on_one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        if _has_names(value):
            return f'dict({", ".join(f"{k}={_on_one_line(v)}" for k, v in value.items())})'
        return f'{{{", ".join(f"{k!r}: {_on_one_line(v)}" for k, v in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_on_one_line, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_on_one_line, value))}{"," if len(value) == 1 else ""})'
    return repr(value)
