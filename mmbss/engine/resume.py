"""Which checkpoint a run goes on from: the folder decides, whatever a pointer file says."""

import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.files.checkpoints import check_template, name_pattern

#: Names that mmengine gives where a config has no ``filename_tmpl``.
TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')
#: The file in which mmengine notes the last checkpoint, and how much of it is read.
POINTER, POINTER_SIZE = 'last_checkpoint', 4096


class Progress(NamedTuple):
    """How far the training of a checkpoint is; a later one is greater."""

    iter: int
    epoch: int


def choose_checkpoint(cfg: Config) -> None:
    """Write the checkpoint that a run is to go on from, and its seed, into the config.

    With ``resume='auto'``, or ``resume=True`` and no ``load_from``, it is the one in the run's own
    folder whose training is furthest; where there is none, the run starts, with the weights of
    ``load_from`` if that is given.

    Raises:
        ConfigError: If the one that is named is damaged or another run's, or would have later ones
            overwritten; if there are signs of a run in the folder, but nothing to go on from.
    """
    if not cfg.get('resume'):
        return
    if cfg.resume not in (True, 'auto'):
        raise ConfigError(
            f'resume={cfg.resume!r} must be bool: name a checkpoint with load_from, or --resume'
        )
    folder = checkpoint_folder(cfg)
    if folder is None:  # another storage, which mmengine reads
        cfg.resume = True
        return
    if cfg.resume == 'auto' or cfg.get('load_from') is None:
        chosen = find_newest(folder, Path(cfg.work_dir), templates_of(cfg))
        cfg.resume = chosen is not None
        if chosen is None:
            return
        cfg.load_from = str(chosen)
    elif '://' in cfg.load_from:
        check_free(folder, templates_of(cfg), f'one that goes on from {cfg.load_from}')
        progress(cfg.load_from, read_checkpoint(cfg.load_from))
    else:
        check_named(Path(cfg.load_from).expanduser(), folder, templates_of(cfg))
    _take_seed(cfg, read_checkpoint(cfg.load_from))


def checkpoint_folder(cfg: Config) -> Path | None:
    """Where the checkpoint hook of a config writes; None if that is no local folder."""
    work_dir = Path(cfg.work_dir)
    out_dir = _hook(cfg).get('out_dir')
    if out_dir is None:
        return work_dir
    # as mmengine's hook does, which follows no links
    absolute = os.path.abspath(work_dir)  # noqa: PTH100
    if str(out_dir) == absolute:
        return work_dir
    return None if '://' in str(out_dir) else Path(out_dir) / Path(absolute).name


def templates_of(cfg: Config) -> tuple[str, ...]:
    """The names of checkpoints, that of the config first.

    Raises:
        ConfigError: If the names that the config gives could not be told again.
    """
    own = _hook(cfg).get('filename_tmpl')
    if own is None:
        return TEMPLATES
    check_template(own)
    return own, *TEMPLATES


def _hook(cfg: Config) -> dict[str, Any]:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    return hook if isinstance(hook, dict) else {}


def own_checkpoints(folder: Path, templates: tuple[str, ...]) -> list[list[Path]]:
    """What has the name of a checkpoint, for each kind of name, the highest number first."""
    found = []
    for template in templates:
        pattern = re.compile(name_pattern(template))
        numbered = [
            (int(match[1]) if pattern.groups else 0, path)
            for path in folder.glob('*')
            if (match := pattern.fullmatch(path.name))
        ]
        found.append([path for _, path in sorted(numbered, reverse=True)])
    return found


def read_pointer(work_dir: Path) -> Path | None:
    """What ``last_checkpoint`` names; None where nothing of use is in it."""
    file = work_dir / POINTER
    if not file.is_file():
        return None
    with file.open('rb') as content:
        text = content.read(POINTER_SIZE).decode(errors='replace').strip()
    return Path(text) if text.endswith('.pth') and text.isprintable() else None


def find_newest(folder: Path, work_dir: Path, templates: tuple[str, ...]) -> Path | None:
    """The checkpoint of a run whose training is furthest; None where no run has been.

    Args:
        folder: Where the run writes its checkpoints.
        work_dir: Where its ``last_checkpoint`` lies: a hint, which helps where the folder has been
            moved or its checkpoints have names that the config does not know.
        templates: How checkpoints may be called.

    Raises:
        ConfigError: If there are checkpoints, or signs of them, of which none can be gone on with.
    """
    pointer = read_pointer(work_dir)
    groups = own_checkpoints(folder, templates)
    if pointer is not None:
        groups.append([path for path in (folder / pointer.name,) if path.exists()])
        if not any(groups):  # kept elsewhere, such as before the work dir was moved
            groups = [*own_checkpoints(pointer.parent, templates), [pointer]]
            groups = [[path for path in group if path.exists()] for group in groups]
    newest, problems = [], []
    for group in groups:
        for path in group:
            try:
                content = read_checkpoint(path)
            except ConfigError as error:
                problems.append(str(error))
            else:
                newest.append((progress(path, content), path))
                break
    if newest:
        for problem in problems:
            print_log(f'{problem}: going on from an earlier one', 'current', logging.WARNING)
        return max(newest)[1]
    signs = [*problems, *(f'there is {path}' for path in sorted(folder.glob('best_*.pth')))]
    if (work_dir / POINTER).exists():
        signs.append(f'{work_dir / POINTER} names {pointer or "nothing that could be read"}')
    if signs:
        raise ConfigError(
            f'no checkpoint in {folder} can be gone on from, though a run has been there '
            f'({"; ".join(signs)}): name one with --resume CHECKPOINT, or start without --resume '
            'in another --work-dir'
        )
    return None


def progress(path: str | Path, content: dict[str, Any]) -> Progress:
    """How far the training of a checkpoint is, which its content says, whatever its name.

    Raises:
        ConfigError: If it holds no state of a training.
    """
    meta = content.get('meta')
    steps: list[Any] = [
        meta.get(key) if isinstance(meta, dict) else None for key in Progress._fields
    ]
    if not all(isinstance(step, int) and step >= 0 for step in steps):
        raise ConfigError(
            f'{path} holds no state of a training to go on from, only weights: move it away, or '
            'take its weights alone with load_from, without --resume'
        )
    return Progress(*steps)


def check_named(path: Path, folder: Path, templates: tuple[str, ...]) -> None:
    """Refuse a checkpoint that is damaged, or to go back behind others in the folder of the run."""
    begin = progress(path, read_checkpoint(path))
    for group in own_checkpoints(folder, templates):
        # a damaged one tells nothing, so the one before it is looked at
        readable = ((found, other) for other in group if (found := progress_of(other)))
        newest, later = next(readable, (begin, path))
        if newest > begin:
            raise ConfigError(
                f'{path} is of iteration {begin.iter}, and {later}, which is later, would be '
                'overwritten: choose another --work-dir, or remove the later ones'
            )
    if path.parent.resolve() != folder.resolve():
        check_free(folder, templates, f'one that goes on from {path}')


def check_free(folder: Path, templates: tuple[str, ...], run: str) -> None:
    """Refuse a folder with checkpoints of another run, under whatever name.

    What a run goes on from may speak of outdated and best ones, which would be taken for those.
    """
    kept = [path for group in own_checkpoints(folder, templates) for path in group]
    if kept := [*kept, *sorted(folder.glob('best_*.pth'))]:
        raise ConfigError(
            f'{folder} holds {len(kept)} checkpoints of an earlier run, such as {kept[0].name}, '
            f'which {run} would overwrite or remove: go on with --resume, choose another '
            '--work-dir, or remove them'
        )


def progress_of(path: Path) -> Progress | None:
    """How far the training of a checkpoint is; None for one that cannot be read."""
    try:
        return progress(path, read_checkpoint(path))
    except ConfigError:
        return None


def _take_seed(cfg: Config, checkpoint: dict[str, Any]) -> None:
    """Have all that draws begin with the seed of the run; mmengine leaves the samplers out."""
    seed = checkpoint['meta'].get('seed')
    if not isinstance(seed, int):
        return
    randomness = cfg.setdefault('randomness', {})
    if randomness.get('seed') not in (None, seed):
        print_log(
            f'randomness.seed={randomness["seed"]} is not used: the run goes on with {seed}, '
            f'that of {cfg.load_from}',
            'current',
            logging.WARNING,
        )
    randomness['seed'] = seed
