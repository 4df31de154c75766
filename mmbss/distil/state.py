"""What a distillation was asked for and has planned, so that the same command goes on with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError, refuse
from mmbss.engine.files.atomic import whole_file
from mmbss.studies.run_logs import read_json

FILE = 'distil.json'


def read_state(folder: Path, rerun: bool = False) -> dict[str, Any]:
    """What was stored in a work dir; empty where nothing was, or all is to be put aside.

    Raises:
        ConfigError: If the file is damaged, or the folder holds something else.
    """
    path = folder / FILE
    is_begun = path.is_file()
    if not is_begun and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f'--work-dir {folder} is not empty and holds no distillation: choose another one'
        )
    if rerun or not is_begun:
        return {}
    state = read_json(path)
    if not isinstance(state, dict) or not isinstance(state.get('arguments'), dict):
        raise ConfigError(f'{path} is damaged: --rerun puts the work dir aside')
    return state


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Store what was asked for and planned."""
    with whole_file(folder / FILE) as part:
        part.write_text(json.dumps(state, indent=1, default=str) + '\n')


def check_same(folder: Path, state: Mapping[str, Any], part: str, asked: Mapping[str, Any]) -> None:
    """Refuse to go on with what was begun otherwise.

    Args:
        folder: The work dir.
        state: What is stored in it.
        part: Which part of that is compared.
        asked: What is asked for now.

    Raises:
        ConfigError: With a line for each difference.
    """
    now = json.loads(json.dumps(asked, default=str))
    before = state.get(part, now)
    refuse(
        f'{folder} was begun with {key} {before.get(key)!r}, now it is {now.get(key)!r}: give '
        'the same, another --work-dir, or --rerun, which puts the old one aside'
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    )
