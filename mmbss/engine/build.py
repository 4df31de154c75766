"""Build what a config entry names, checked first against what its class takes.

Imports nothing heavy.
"""

import difflib
import inspect
import reprlib
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cache
from typing import Any, NamedTuple

from mmengine.registry import DefaultScope, Registry

from mmbss.engine.errors import ConfigError, problems_of, refuse
from mmbss.engine.fitting import allows_number, classes_of, fits, has_fitting_items

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
#: Whose arguments are numbers to count with; a class of somebody else may take NaN for anything.
KNOWN_PACKAGES = ('mmbss', 'mmcv', 'mmengine', 'mmpretrain', 'torch')


class Arguments(NamedTuple):
    """Keyword arguments of a function or class.

    Attributes:
        known: Each by name.
        required: Names of those without a default.
        is_complete: Whether there are no others; False where the code does not tell.
        owners: The function that has each as its own, which may be that of a base class; under
            None that which gets all others.
    """

    known: dict[str, inspect.Parameter]
    required: list[str]
    is_complete: bool
    owners: dict[str | None, Any]


def find_arguments(function: Callable[..., Any]) -> Arguments:
    """Keyword arguments of a function or class.

    Where a class takes ``**kwargs``, those of its base classes are added. A class of mmbss hands
    on all that it takes so; what others do with it, their code alone tells.

    Examples:
        >>> class Base:
        ...     def __init__(self, size: int, scale: float = 1.0) -> None: ...
        >>> class Named(Base):
        ...     def __init__(self, name: str, **kwargs) -> None: ...
        >>> list(find_arguments(Named).known), find_arguments(Named).is_complete
        (['name', 'size', 'scale'], True)
    """
    layers: list[Any] = [function]
    if isinstance(function, type):
        layers = [vars(kind)['__init__'] for kind in function.__mro__ if '__init__' in vars(kind)]
    found, is_handed_on = Arguments({}, [], False, {}), True
    for layer in layers:
        if layer is object.__init__:
            # whoever has a __new__ of its own may take more
            return found._replace(is_complete=is_handed_on and '__new__' not in vars(function))
        # a callable object of somebody's own need have no hash
        read = _parameters if isinstance(layer, Hashable) else _parameters.__wrapped__
        parameters = read(layer)
        if parameters is None:
            break
        is_ours = _is_ours(layer)
        # what a class calls itself is nothing that is given
        for each in parameters[layer is not function :]:
            if each.kind in NAMED and each.name not in found.known:
                found.known[each.name], found.owners[each.name] = each, layer
                if each.default is each.empty and (is_ours or layer is layers[0]):
                    found.required.append(each.name)
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return found._replace(is_complete=is_handed_on)
        found.owners[None] = layer
        is_handed_on &= is_ours
    return found


def accepted_keys(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Keyword arguments of a function or class, by name."""
    return find_arguments(function).known


def is_known(kind: Any) -> bool:
    """Whether a class is of a known package, so that names of its arguments tell what they are.

    What a class of somebody's own calls a ``loss`` or a ``momentum`` may be anything.

    Examples:
        >>> from json import JSONEncoder
        >>> is_known(JSONEncoder), is_known(Registry)
        (False, True)
    """
    module = getattr(kind, '__module__', None) or ''
    return not callable(kind) or module.partition('.')[0] in KNOWN_PACKAGES


def _is_ours(function: Any) -> bool:
    return function.__module__.partition('.')[0] == 'mmbss'


def is_known_of(kind: Any, key: str) -> bool:
    """Whether an argument is one of a known package, perhaps of a class that this derives from."""
    if is_known(kind):
        return True
    owners = find_arguments(kind).owners
    return is_known(owners.get(key, owners.get(None, kind)))


@cache  # a study asks 10,000 times
def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """With their annotations as classes where these are known; None of what has no signature."""
    for evaluated in (True, False):
        try:
            return list(inspect.signature(function, eval_str=evaluated).parameters.values())
        except Exception:  # an annotation may raise anything  # noqa: S112
            continue
    return None


def check_known(given: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse keys that nobody reads.

    Raises:
        ConfigError: With each of them, the closest known one, all known ones and the values.

    Examples:
        >>> check_known(dict(temprature=3), ['temperature', 'loss_weight'], 'KDLoss')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: KDLoss has no key 'temprature', did you mean ...
    """
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ConfigError(
            f'{where} has no key '
            + ' No key '.join(f'{key!r}{suggest(key, known)}' for key in unknown)
            + f' It takes: {", ".join(sorted(known)) or "nothing"}; got '
            + ', '.join(f'{key}={reprlib.repr(given[key])}' for key in unknown)
        )


def suggest(name: Any, known: Collection[str], most: int = 1) -> str:
    """End a sentence, with the question whether a known name was meant if some are close.

    Examples:
        >>> suggest('KDLos', ['KDLoss', 'HintLoss'])
        ", did you mean 'KDLoss'?"
        >>> suggest('Hinton', ['KDLoss'])
        '.'
    """
    closest = difflib.get_close_matches(str(name), known, n=most)
    return f', did you mean {" or ".join(map(repr, closest))}?' if closest else '.'


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
        ConfigError: With the keys that are unknown or missing, and each value of a wrong type.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f'{where} must be a dict, got {reprlib.repr(config)}')
    known, required, is_complete, _ = find_arguments(function)
    # the annotations of other libraries often leave out what their code takes
    strictly = _is_ours(function) or function.__module__.startswith('mmengine.runner')
    unknown = {key: value for key, value in config.items() if key not in known}
    if not is_complete:
        unknown = {key: unknown[key] for key in unknown if are_alike(key, known, 0.9)}
    missing = [name for name in required if name not in {*config, *supplied}]
    missing = [name for name in missing if not are_alike(name, unknown, 0.6)]
    problems = problems_of(check_known, unknown, known, where)
    if missing:
        problems.append(f'{where} lacks {", ".join(map(repr, missing))}: add it')
    for key in (key for key in config if key in known):
        value, (hint, default) = config[key], (known[key].annotation, known[key].default)
        classes = classes_of(hint, default)
        if classes and isinstance(default, bool) and bool not in classes:
            classes += (bool,)
        # of initializers a model of mmengine takes a list too, which it is not annotated to
        strict = strictly and key != 'init_cfg'
        is_of_class = fits(value, classes, strict)
        is_right = is_of_class and (not strict or has_fitting_items(value, hint))
        if not is_right and (value != default or isinstance(value, bool)):
            names = ' or '.join(kind.__name__.replace('NoneType', 'None') for kind in classes)
            if is_of_class:
                names = inspect.formatannotation(hint)
            problems.append(f'{where}: {key} must be {names}, got {reprlib.repr(value)}')
        elif not allows_number(key, value) and is_known_of(function, key):
            problems.append(f'{where}: {key} must be finite, got {reprlib.repr(value)}')
    refuse(problems)


def are_alike(name: Any, others: Collection[str], cutoff: float = 0.6) -> bool:
    """Whether a name is nearly one of the others."""
    return bool(difflib.get_close_matches(str(name), others, n=1, cutoff=cutoff))


def lookup(registry: Registry, name: Any) -> Any:
    """What a registry knows by a name; None if nothing. What is no text is taken as it is."""
    if not isinstance(name, str):
        return name
    return registry.get(name) if all(name.split('.')) else None  # '' or '.' is an error in it


def find_kind(registry: Registry, config: Any, where: str) -> Any:
    """The class that the ``type`` of a config entry names.

    Raises:
        ConfigError: If the entry is no dict with a type, or nothing of that name is registered.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise ConfigError(f'{where} must be a dict with a type, got {reprlib.repr(config)}')
    name = config['type']
    kind = lookup(registry, name)
    if callable(kind):
        return kind
    names, level = [], registry
    while level is not None:
        scope = '' if level.scope in ('mmengine', 'mmpretrain') else f'{level.scope}.'
        names += [f'{scope}{key}' for key in level.module_dict]
        level = getattr(level, 'fallback', level.parent)
    raise ConfigError(
        f'{where}.type={name!r} is not in the {registry.name} registry{suggest(name, names)} A '
        'module of your own must be in custom_imports'
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
