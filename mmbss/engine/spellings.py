"""Ways to write one config: a default left out or written, a class or its name."""

import copy
import functools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch.utils.data import DataLoader

from mmbss.engine.build import accepted_keys, find_kind, lookup
from mmbss.engine.config_checks.entries import DEFAULTS, LOADERS, Entry, find_entries
from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import leaves, same_numbers, text_of

#: Names under which a registered class may be asked for, besides the path of its module.
SCOPES = ('', 'mmbss.', 'mmpretrain.', 'mmengine.')
MARK = '_entry_'
#: Defaults that their text tells apart.
PLAIN = (bool, int, float, str, list, tuple)


class Spellings:
    """Tells whether what differs between two fingerprints is another way to write the same.

    Args:
        cfg: Of the run that goes on. Names out of the other fingerprint are looked up nowhere,
            since they come from a file.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        marked = copy.deepcopy(dict(cfg.items()))
        entries = [each for each in find_entries(marked) if isinstance(each.config, dict)]
        for number, entry in enumerate(entries):
            with suppress(KeyError):  # of names with a dot
                functools.reduce(_item, entry.path.split('.'), marked)[MARK] = number
        #: By their paths in a fingerprint.
        self.entries: dict[str, Entry] = {
            path.removesuffix(f'.{MARK}'): entries[int(text)]
            for name, value in marked.items()
            for path, text in leaves(value, name)
            if path.endswith(f'.{MARK}')
        }

    def are_same(self, path: str, before: str | None, now: str | None) -> bool:
        """Whether two texts under a path mean the same; None where there is none.

        Examples:
            >>> loader = dict(sampler=dict(type='DefaultSampler'))
            >>> spellings = Spellings(dict(train_dataloader=loader))
            >>> spellings.are_same('train_dataloader.sampler.round_up', None, 'True')
            True
            >>> spellings.are_same('train_dataloader.drop_last', 'True', None)
            False
        """
        place, _, key = path.rpartition('.')
        entry = self.entries.get(place)
        if key == 'type' and entry is not None:
            names = self._names(entry)
            usual = text_of(DEFAULTS.get(entry.key))
            return {before or usual, now or usual} <= names
        written = now if before is None else before
        if written is None or None not in (before, now):
            return False
        kind = DataLoader if place in LOADERS else entry and _kind(entry)
        # of its own __init__: one that calls another may hand it another default
        begin = getattr(kind, '__init__') if isinstance(kind, type) else kind  # noqa: B009
        known = accepted_keys(begin) if callable(begin) else {}
        default = known[key].default if key in known else None
        return isinstance(default, PLAIN) and same_numbers(written, text_of(default))

    def _names(self, entry: Entry) -> set[str]:
        """As text, the names of the class of an entry."""
        kind = _kind(entry)
        short = getattr(kind, '__name__', '')
        names = (f'{scope}{short}' for scope in SCOPES if kind is not None)
        return {repr(name) for name in names if lookup(entry.registry, name) is kind} | {
            text_of(kind)
        }


def _item(node: Any, key: str) -> Any:
    return node[int(key)] if isinstance(node, (list, tuple)) else node[key]


def _kind(entry: Entry) -> Any:
    try:
        return find_kind(entry.registry, entry.config, entry.path)
    except ConfigError:  # such as a loop by by_epoch
        return None
