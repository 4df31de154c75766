"""What to do about data that are not there."""

from typing import Any
from urllib.error import URLError

from mmbss.engine.build import lookup
from mmbss.engine.config_checks.entries import Entry

#: Settings of datasets that say where their files lie.
PLACES = ('data_root', 'data_prefix', 'ann_file', 'data_file')


def cure_of(entry: Entry, error: Exception) -> str:
    """What to add to the message of an error at building a part; empty where it says enough."""
    if entry.key not in ('dataset', 'datasets') or not isinstance(error, OSError):
        return ''
    if isinstance(error, (URLError, ConnectionError, TimeoutError)):
        kind = lookup(entry.registry, entry.config['type'])
        return (
            f': could not be downloaded; put {archive_of(kind)} into {entry.path}.data_root='
            f'{entry.config.get("data_root")!r} yourself, or take data that are here, such as '
            "dict(type='mmbss.Digits', split='train') or an .npz file with mmbss.ArrayDataset"
        )
    places = [f'{entry.path}.{key}={entry.config[key]!r}' for key in PLACES if key in entry.config]
    return f': correct {", ".join(places)} or put the data there' if places else ''


def archive_of(kind: Any) -> str:
    """What a dataset of mmpretrain downloads, and from where."""
    files: Any = getattr(kind, 'filename', None)
    if files is None:  # MNIST and the like name several
        pairs = [*getattr(kind, 'train_list', ()), *getattr(kind, 'test_list', ())]
        files = ', '.join(name for name, _ in pairs)
    source = getattr(kind, 'url', None) or getattr(kind, 'url_prefix', None)
    return f'{files or "its files"}{f" of {source}" if source else ""}'
