"""What a class takes, also where it hands keyword arguments on to its base class."""

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Arguments:
    """Arguments of a function or class.

    Attributes:
        known: Each argument by name.
        types: Classes of the values that an argument may have, where the signature tells them.
        is_complete: Whether there are no others; False where the code does not tell.
    """

    known: dict[str, inspect.Parameter]
    types: dict[str, tuple[type, ...]]
    is_complete: bool

    @property
    def required(self) -> list[str]:
        """Names of the arguments without a default."""
        return [name for name, each in self.known.items() if each.default is each.empty]


def find_arguments(function: Callable[..., Any]) -> Arguments:
    """Keyword arguments of a function or class.

    Where a class hands ``**kwargs`` on to ``super().__init__`` and does nothing else with them,
    those of its base class are added.

    Examples:
        >>> class Base:
        ...     def __init__(self, size: int, scale: float = 1.0) -> None: ...
        >>> class Fixed(Base):
        ...     def __init__(self, name: str, **kwargs) -> None:
        ...         super().__init__(size=3, **kwargs)
        >>> find_arguments(Fixed).types
        {'name': (<class 'str'>,), 'scale': (<class 'float'>,)}
    """
    is_class = isinstance(function, type)
    layers = [function]
    if isinstance(function, type):
        layers = [vars(kind)['__init__'] for kind in function.__mro__ if '__init__' in vars(kind)]
    known: dict[str, inspect.Parameter] = {}
    types_: dict[str, tuple[type, ...]] = {}
    filled, taken = int(is_class), set[str]()
    for layer in layers:
        if layer is object.__init__:
            # whoever has a __new__ of its own may take more
            return Arguments(known, types_, vars(function).get('__new__') is None)
        try:
            parameters = list(inspect.signature(layer).parameters.values())
        except (TypeError, ValueError):
            break
        hints = _type_hints(layer)
        for parameter in parameters[filled:]:
            if parameter.kind in NAMED and parameter.name not in {*taken, *known}:
                known[parameter.name] = parameter
                if classes := _classes(hints.get(parameter.name), parameter.default):
                    types_[parameter.name] = classes
        names = [each.name for each in parameters if each.kind is each.VAR_KEYWORD]
        if not names:
            return Arguments(known, types_, True)
        handed_on = _handed_on(layer, names[0]) if is_class else None
        if handed_on is None:
            break
        filled, taken = handed_on
    return Arguments(known, types_, False)


def _handed_on(initialiser: Callable[..., Any], kwargs: str) -> tuple[int, set[str]] | None:
    """How many arguments ``super().__init__(..., **kwargs)`` fills in by place, and which by name.

    ``self`` is counted. None if this call is not the only use of ``kwargs``.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(initialiser)))
    except (OSError, SyntaxError, TypeError):
        return None
    nodes = list(ast.walk(tree))
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == kwargs]
    defaults = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr == 'setdefault' and node.value in uses
    ]
    calls = [
        node
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == '__init__'
        and isinstance(node.func.value, ast.Call)
        and getattr(node.func.value.func, 'id', None) == 'super'
        and any(keyword.arg is None and keyword.value in uses for keyword in node.keywords)
    ]
    if len(calls) != 1 or len(uses) != 1 + len(defaults):
        return None
    positional = [each for each in calls[0].args if not isinstance(each, ast.Starred)]
    return 1 + len(positional), {each.arg for each in calls[0].keywords if each.arg}


def _type_hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (AttributeError, NameError, TypeError):
        return {}


def _classes(hint: Any, default: Any) -> tuple[type, ...]:
    """Classes that an annotation, or else a default, allows; empty for any."""
    if hint is Any:
        return ()
    if hint is None:
        return (type(default),) if isinstance(default, (bool, int, float)) else ()
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [_classes(part, inspect.Parameter.empty) for part in typing.get_args(hint)]
        return sum(parts, ()) if all(parts) else ()
    kind = typing.get_origin(hint) or hint
    return (kind,) if inspect.isclass(kind) else ()


def fits(value: Any, classes: Collection[type], strictly: bool = True) -> bool:
    """Whether a value from a config may go where these classes are expected.

    Lenient where code is: a dict may stand for what is built from it, any sequence for another,
    and an object that no config file can spell for anything.

    Args:
        value: The value.
        classes: What :attr:`Arguments.types` says.
        strictly: Whether to refuse what only a careless annotation leaves out: None, and fractions
            and sequences in the place of a whole number.
    """
    if isinstance(value, tuple(classes)) or not isinstance(value, (*SCALARS, dict, list, tuple)):
        return True
    if value is None:
        return not strictly
    is_numeric = bool({int, float, bool} & set(classes))
    if isinstance(value, (int, float)) and is_numeric:
        return float in classes or not strictly or float(value).is_integer()
    if isinstance(value, (list, tuple)):
        return bool({list, tuple} & set(classes)) or (
            not strictly and (is_numeric or dict in classes)
        )
    if isinstance(value, dict):
        return not all(kind in (*SCALARS, list, tuple) for kind in classes)
    return not all(kind in (*SCALARS, list, tuple, dict, Tensor) for kind in classes)
