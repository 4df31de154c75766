"""Which settings of a run its result depends on, and in which two runs differ."""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmbss.engine.default_hooks import SAFETY_HOOKS

#: Settings that say where a run takes place, and not what it does.
PLACE = ('work_dir', 'launcher', 'resume', 'load_from')
#: What a run sets itself, or would write to a folder that it does not know.
SETTLED = (*PLACE, 'randomness.seed', 'default_hooks.checkpoint.out_dir')
#: What PLACE is, of a data loader.
PLACE_OF_LOADER = ('pin_memory', 'persistent_workers')


def by_dotted_key(options: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Options, those in dicts by their path; dicts whose own keys hold dots stay whole.

    Examples:
        >>> dict(by_dotted_key({'a.b': dict(c=1), 'd': {'head.fc': dict(lr_mult=0.1)}}))
        {'a.b.c': 1, 'd': {'head.fc': {'lr_mult': 0.1}}}
    """
    for key, value in options.items():
        by_path = isinstance(value, Mapping) and value
        if by_path and not any(str(name).count('.') for name in value):
            yield from by_dotted_key(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def is_literal(value: Any) -> bool:
    """Whether Python reads a value where it is written out.

    Examples:
        >>> is_literal(0.1), is_literal(float('inf')), is_literal(dict)
        (True, False, False)
    """
    try:
        ast.literal_eval(repr(value))
    except (SyntaxError, ValueError):
        return False
    return True


def settled_keys(options: Mapping[str, Any], others: Iterable[str] = ()) -> list[str]:
    """Which options would replace, or be replaced by, what is in :data:`SETTLED` or ``others``.

    Examples:
        >>> settled_keys({'randomness': {'seed': 5}, 'resume': True, 'train_cfg.max_epochs': 3})
        ['randomness.seed', 'resume']
    """
    settled = [f'{key}.' for key in (*SETTLED, *others)]
    return [
        key
        for key, _ in by_dotted_key(options)
        if any(f'{key}.'.startswith(other) or other.startswith(f'{key}.') for other in settled)
    ]


def options_in_words(options: Mapping[str, Any]) -> list[str]:
    """Options as ``KEY=VALUE``.

    Examples:
        >>> options_in_words({'a.b': dict(type='Mixup', alpha=1.0), 'c': [20, 30]})
        ['a.b.type=Mixup', 'a.b.alpha=1.0', 'c=[20, 30]']
    """
    return [f'{key}={value}' for key, value in by_dotted_key(options)]


def what_counts(cfg: Config) -> dict[str, Any]:
    """The settings of a config that its result depends on, as JSON has them.

    A hook that :func:`~mmbss.engine.default_hooks.add_safety_hooks` has added counts only where a
    config changes it or leaves it out, so that results outlive another hook.
    """
    settings = json.loads(json.dumps(cfg.to_dict(), default=repr))
    settings = {key: value for key, value in settings.items() if key not in (*PLACE, 'env_cfg')}
    for name, value in settings.items():
        if name.endswith('_dataloader') and isinstance(value, dict):
            settings[name] = {k: v for k, v in value.items() if k not in PLACE_OF_LOADER}
    hooks = {**dict.fromkeys(SAFETY_HOOKS), **settings.get('default_hooks', {})}
    hooks = {name: hook for name, hook in hooks.items() if hook != SAFETY_HOOKS.get(name, ())}
    return dict(settings, default_hooks=hooks)


def without_later_hooks(found: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """:func:`what_counts` of a training that may be older than hooks that would be added today."""
    hooks, known = found['default_hooks'], asked['default_hooks']
    kept = {name: hook for name, hook in hooks.items() if hook is not None or name in known}
    return dict(found, default_hooks=kept)


def differences(found: Any, asked: Any, path: str = '') -> Iterator[tuple[str, Any, Any]]:
    """What differs between two nested settings: dotted key, and the values in both.

    Examples:
        >>> list(differences(dict(a=dict(lr=0.1), b=1), dict(a=dict(lr=0.2), c=3)))
        [('a.lr', 0.1, 0.2), ('b', 1, 'missing'), ('c', 'missing', 3)]
    """
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in dict.fromkeys([*found, *asked]):
            one, other = found.get(key, 'missing'), asked.get(key, 'missing')
            yield from differences(one, other, f'{path}.{key}'.lstrip('.'))
    elif found != asked:
        yield path, found, asked


def digest_of(settings: Any) -> str:
    """Sixteen characters that tell settings from others."""
    text = json.dumps(settings, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
