"""Build what a config entry names, with its keys checked first; imports nothing heavy."""

import difflib
import inspect
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from mmengine.registry import DefaultScope, Registry

from mmbss.engine.arguments import NAMED, find_arguments, fits
from mmbss.engine.errors import ConfigError


def accepted_keys(function: Callable[..., Any]) -> dict[str, bool]:
    """Keyword arguments of a function or class, and whether each must be given."""
    return {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in NAMED and name != 'self'
    }


def suggest(name: str, known: Iterable[str]) -> str:
    """Ask whether the closest known name was meant; a semicolon where none is close.

    Examples:
        >>> suggest('KDLos', ['KDLoss', 'HintLoss'])
        ", did you mean 'KDLoss'?"
    """
    closest = difflib.get_close_matches(name, known, n=1)
    return f', did you mean {closest[0]!r}?' if closest else ';'


def check_known(given: Mapping[str, Any], accepted: Iterable[str], where: str) -> None:
    """Refuse keys that nobody reads.

    Raises:
        ValueError: Naming the key, the closest known one, all known ones and the value.

    Examples:
        >>> check_known(dict(temprature=3), ['temperature', 'loss_weight'], 'KDLoss')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: KDLoss has no key 'temprature', did you mean ...
    """
    accepted = sorted(accepted)
    for key, value in given.items():
        if key not in accepted:
            raise ConfigError(
                f'{where} has no key {key!r}{suggest(str(key), accepted)} It takes: '
                f'{", ".join(accepted) or "nothing"}; got {key}={reprlib.repr(value)}'
            )


def misspelt(given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Those of the settings that nearly have a known name.

    Examples:
        >>> misspelt(dict(intervall=3, name='a'), ['interval', 'names'])
        {'intervall': 3}
    """
    unknown = {key: value for key, value in given.items() if key not in known}
    return {
        key: value
        for key, value in unknown.items()
        if difflib.get_close_matches(str(key), known, n=1, cutoff=0.9)
    }


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
        ValueError: If a key is unknown, a required one is missing or a value of a wrong type.
    """
    arguments = find_arguments(function)
    # the annotations of other libraries often leave out what their code takes
    strictly = function.__module__.startswith(('mmbss', 'mmengine.runner'))
    likely = config if arguments.is_complete else misspelt(config, arguments.known)
    check_known(likely, arguments.known, where)
    missing = [name for name in arguments.required if name not in {*config, *supplied}]
    if missing:
        raise ConfigError(f'{where} lacks {", ".join(map(repr, missing))}: add it')
    for key, value in config.items():
        classes = arguments.types.get(key, ())
        if classes and not fits(value, classes, strictly) and value != arguments.known[key].default:
            names = ' or '.join(kind.__name__.replace('NoneType', 'None') for kind in classes)
            raise ConfigError(f'{where}: {key} must be {names}, got {reprlib.repr(value)}')


def build_checked(registry: Registry, config: dict[str, Any], where: str) -> Any:
    """Build a registered class from its config, with the keys checked first.

    Raises:
        ValueError: If ``type`` is missing, or a key is unknown or missing.
        KeyError: If no class of that name is registered.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise ConfigError(f'{where} must be a dict with a type, got {config!r}')
    # of a registry's own scope, since mmpretrain knows no attacks
    with DefaultScope.overwrite_default_scope('mmbss'):
        kind = registry.get(config['type']) if isinstance(config['type'], str) else config['type']
        if kind is not None:
            keys = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
            check_keys(keys, kind, f'{where} ({kind.__name__})')
        return registry.build(config)
