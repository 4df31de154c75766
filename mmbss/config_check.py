"""Check the keys of a config entry before anything is built from it."""

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from mmengine.registry import DefaultScope, Registry


def accepted_keys(function: Callable[..., Any]) -> dict[str, bool]:
    """Keyword arguments of a function or class, and whether each must be given."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in kinds and name != 'self'
    }


def check_known(given: Iterable[str], accepted: Iterable[str], where: str) -> None:
    """Refuse keys that nobody reads.

    Raises:
        ValueError: Naming the key, the closest known one and all known ones.

    Examples:
        >>> check_known(['temprature'], ['temperature', 'loss_weight'], 'KDLoss')
        Traceback (most recent call last):
        ValueError: KDLoss has no key 'temprature', did you mean 'temperature'? It takes: ...
    """
    accepted = list(accepted)
    for key in given:
        if key not in accepted:
            closest = difflib.get_close_matches(key, accepted, n=1)
            hint = f', did you mean {closest[0]!r}?' if closest else ';'
            raise ValueError(
                f'{where} has no key {key!r}{hint} It takes: {", ".join(sorted(accepted))}'
            )


def check_keys(config: dict[str, Any], function: Callable[..., Any], where: str) -> None:
    """Refuse a config entry that does not fit the function it is for.

    Raises:
        ValueError: If a key is unknown or a required one is missing.
    """
    accepted = accepted_keys(function)
    check_known(config, accepted, where)
    missing = [name for name, required in accepted.items() if required and name not in config]
    if missing:
        raise ValueError(f'{where} lacks {", ".join(map(repr, missing))}')


def build_checked(registry: Registry, config: dict[str, Any], where: str) -> Any:
    """Build a registered class from its config, with the keys checked first.

    Raises:
        ValueError: If ``type`` is missing, or a key is unknown or missing.
        KeyError: If no class of that name is registered.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise ValueError(f'{where} must be a dict with a type, got {config!r}')
    # of a registry's own scope, since mmpretrain knows no attacks
    with DefaultScope.overwrite_default_scope('mmbss'):
        kind = registry.get(config['type']) if isinstance(config['type'], str) else config['type']
        takes_any = kind is None or any(
            parameter.kind is inspect.Parameter.VAR_KEYWORD
            for parameter in inspect.signature(kind).parameters.values()
        )
        if not takes_any:
            keys = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
            check_keys(keys, kind, f'{where} ({kind.__name__})')
        return registry.build(config)
