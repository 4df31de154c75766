"""Build what a config entry names, checked first against what its class takes.

Imports nothing heavy.
"""

import difflib
import inspect
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from mmengine.registry import DefaultScope, Registry
from torch import Tensor

from mmbss.engine.errors import ConfigError, problems_of, refuse

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
SCALARS = (bool, int, float, str, type(None))


class Arguments(NamedTuple):
    """Keyword arguments of a function or class.

    Attributes:
        known: Each by name.
        required: Names of those without a default.
        types: Classes of the values that one may have, where the signature tells them.
        is_complete: Whether there are no others; False where the code does not tell.
    """

    known: dict[str, inspect.Parameter]
    required: list[str]
    types: dict[str, tuple[type, ...]]
    is_complete: bool


def find_arguments(function: Callable[..., Any]) -> Arguments:
    """Keyword arguments of a function or class.

    Where a class takes ``**kwargs``, those of its base classes are added. A class of mmbss hands
    on all that it takes so; what others do with it, their code alone tells.

    Examples:
        >>> class Base:
        ...     def __init__(self, size: int, scale: float = 1.0) -> None: ...
        >>> class Named(Base):
        ...     def __init__(self, name: str, **kwargs) -> None: ...
        >>> find_arguments(Named).types
        {'name': (<class 'str'>,), 'size': (<class 'int'>,), 'scale': (<class 'float'>,)}
    """
    layers: list[Any] = [function]
    if isinstance(function, type):
        layers = [vars(kind)['__init__'] for kind in function.__mro__ if '__init__' in vars(kind)]
    found, is_handed_on = Arguments({}, [], {}, False), True
    for layer in layers:
        if layer is object.__init__:
            # whoever has a __new__ of its own may take more
            return found._replace(is_complete=vars(function).get('__new__') is None)
        try:
            parameters = inspect.signature(layer).parameters.values()
        except (TypeError, ValueError):
            break
        is_ours, hints = layer.__module__.startswith('mmbss'), _type_hints(layer)
        for each in parameters:
            if each.kind in NAMED and each.name not in {*found.known, 'self'}:
                found.known[each.name] = each
                if classes := _classes(hints.get(each.name), each.default):
                    found.types[each.name] = classes
                if each.default is each.empty and (is_ours or layer is layers[0]):
                    found.required.append(each.name)
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return found._replace(is_complete=is_handed_on)
        is_handed_on &= is_ours
    return found


def accepted_keys(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Keyword arguments of a function or class, by name."""
    return find_arguments(function).known


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


def suggest(name: Any, known: Iterable[str]) -> str:
    """Ask whether the closest known name was meant; a semicolon where none is close.

    Examples:
        >>> suggest('KDLos', ['KDLoss', 'HintLoss'])
        ", did you mean 'KDLoss'?"
    """
    closest = difflib.get_close_matches(str(name), known, n=1)
    return f', did you mean {closest[0]!r}?' if closest else ';'


def check_known(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that nobody reads.

    Raises:
        ConfigError: With each of them, the closest known one, all known ones and the value.

    Examples:
        >>> check_known(dict(temprature=3), ['temperature', 'loss_weight'], 'KDLoss')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: KDLoss has no key 'temprature', did you mean ...
    """
    known = sorted(known)
    refuse(
        f'{where} has no key {key!r}{suggest(key, known)} It takes: '
        f'{", ".join(known) or "nothing"}; got {key}={reprlib.repr(value)}'
        for key, value in given.items()
        if key not in known
    )


def check_keys(
    config: Mapping[str, Any],
    function: Callable[..., Any],
    where: str,
    supplied: Collection[str] = (),
) -> None:
    """Refuse a config entry that does not fit the function it is for.

    Args:
        config: Keyword arguments for the function.
        function: A function or class.
        where: What to call the entry in a message.
        supplied: Arguments that are filled in where the config does not name them.

    Raises:
        ConfigError: With each key that is unknown or missing, or whose value is of a wrong type.
    """
    known, required, types_, is_complete = find_arguments(function)
    # the annotations of other libraries often leave out what their code takes
    strictly = function.__module__.startswith(('mmbss', 'mmengine.runner'))
    unknown = {key: value for key, value in config.items() if key not in known}
    if not is_complete:  # those that nearly have a known name
        unknown = {
            key: value
            for key, value in unknown.items()
            if difflib.get_close_matches(str(key), known, n=1, cutoff=0.9)
        }
    missing = [name for name in required if name not in {*config, *supplied}]
    problems = problems_of(check_known, unknown, known, where)
    if missing:
        problems.append(f'{where} lacks {", ".join(map(repr, missing))}: add it')
    for key, value in config.items():
        classes = types_.get(key, ())
        if classes and not fits(value, classes, strictly) and value != known[key].default:
            names = ' or '.join(kind.__name__.replace('NoneType', 'None') for kind in classes)
            problems.append(f'{where}: {key} must be {names}, got {reprlib.repr(value)}')
    refuse(problems)


def find_kind(registry: Registry, config: Any, where: str) -> Any:
    """The class that the ``type`` of a config entry names.

    Raises:
        ConfigError: If the entry is no dict with a type, or nothing of that name is registered.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise ConfigError(f'{where} must be a dict with a type, got {reprlib.repr(config)}')
    name = config['type']
    kind = registry.get(name) if isinstance(name, str) else name
    if callable(kind):
        return kind
    names: dict[str, str] = {}
    level: Any = registry
    while level is not None:
        scope = '' if level.scope in ('mmengine', 'mmpretrain') else f'{level.scope}.'
        names |= {key: f'{scope}{key}' for key in level.module_dict}
        level = getattr(level, 'fallback', level.parent)
    closest = difflib.get_close_matches(str(name).split('.')[-1], names, n=1)
    raise ConfigError(
        f'{where}.type={name!r} is not in the {registry.name} registry'
        f'{suggest(names[closest[0]], [names[closest[0]]]) if closest else ";"} A module of your '
        'own must be in custom_imports'
    )


def build_checked(registry: Registry, config: dict[str, Any], where: str) -> Any:
    """Build a registered class from its config, checked first.

    Raises:
        ConfigError: If the type is missing or unknown, or a key is unknown or missing.
    """
    # of a registry's own scope, since mmpretrain knows no attacks
    with DefaultScope.overwrite_default_scope('mmbss'):
        kind = find_kind(registry, config, where)
        keys = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
        check_keys(keys, kind, f'{where} ({kind.__name__})')
        return registry.build(config)
