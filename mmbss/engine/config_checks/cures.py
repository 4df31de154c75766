"""What to do about data that are not there or not as they should be, and about a surplus key."""

from mmbss.engine.config_checks.entries import INHERITED, Entry
from mmbss.engine.errors import ConfigError

#: Settings of datasets that say where their files lie.
PLACES = ('data_root', 'data_prefix', 'ann_file', 'data_file')


def cure_of(entry: Entry, error: Exception) -> str:
    """What to add to the message of an error at building a part; empty where it says enough."""
    if isinstance(error, TypeError) and 'unexpected keyword argument' in str(error):
        return f': remove or correct it; {INHERITED}'
    if entry.key not in ('dataset', 'datasets'):
        return ''
    if isinstance(error, OSError):
        places = [
            f'{entry.path}.{key}={entry.config[key]!r}' for key in PLACES if key in entry.config
        ]
        return f': correct {", ".join(places)} or put the data there' if places else ''
    if entry.config.get('ann_file') and not isinstance(error, ConfigError):
        return f': look at the lines of {entry.path}.ann_file={entry.config["ann_file"]!r}'
    return ''
