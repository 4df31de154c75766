"""Which parts of a config are built from a registry, and whether their keys fit."""

import difflib
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import FUNCTIONS, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmbss import registry as registries
from mmbss.engine.build import (
    accepted_keys,
    are_alike,
    check_keys,
    find_arguments,
    find_kind,
    is_known,
    is_known_of,
    lookup,
)
from mmbss.engine.config_checks.signatures import of_schedule, of_top
from mmbss.engine.errors import ConfigError, problems_of, refuse


def _by_key(**keys: str) -> dict[str, Registry]:
    return {key: getattr(registries, name) for name in keys for key in keys[name].split()}


#: Registry of what a config holds under a key at its top.
TOP = _by_key(
    MODELS='model data_preprocessor',
    METRICS='val_evaluator test_evaluator',
    OPTIM_WRAPPERS='optim_wrapper',
    PARAM_SCHEDULERS='param_scheduler',
    HOOKS='default_hooks custom_hooks',
    LOOPS='train_cfg val_cfg test_cfg',
    VISUALIZERS='visualizer',
    LOG_PROCESSORS='log_processor',
    MODEL_WRAPPERS='model_wrapper_cfg',
)
#: The same anywhere below these and below the data loaders.
NESTED = _by_key(
    MODELS='data_preprocessor backbone neck head loss losses',
    ATTACKS='attack',
    BATCH_AUGMENTS='augments',
    DATASETS='dataset datasets',
    TRANSFORMS='pipeline',
    DATA_SAMPLERS='sampler batch_sampler',
    OPTIMIZERS='optimizer',
    METRICS='metrics',
    VISBACKENDS='vis_backends',
    WEIGHT_INITIALIZERS='init_cfg',
) | dict(collate_fn=FUNCTIONS)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
#: Keys under which entries may also lie a level deeper, by name.
GROUPS = ('default_hooks', 'losses', 'param_scheduler', 'val_evaluator', 'test_evaluator')
#: Types of entries that need not name one; None where the model decides.
DEFAULTS = dict(
    data_preprocessor=None,
    log_processor='LogProcessor',
    model_wrapper_cfg='MMDistributedDataParallel',
    optim_wrapper='OptimWrapper',
    test_cfg='TestLoop',
    val_cfg='ValLoop',
    visualizer='Visualizer',
)
#: Arguments that mmengine adds.
SUPPLIED = dict(
    batch_sampler=('sampler', 'batch_size'),
    collate_fn=('data_batch', 'batch'),
    model_wrapper_cfg=('module', 'device_ids'),
    optimizer=('params',),
    param_scheduler=('optimizer',),
    sampler=('dataset',),
    vis_backends=('save_dir',),
    visualizer=('name',),
    **dict.fromkeys(('train_cfg', 'val_cfg', 'test_cfg'), ('runner', 'dataloader', 'evaluator')),
)
#: Keys of an entry that others take out of it: mmengine, and a distiller out of its terms.
TAKEN_OUT = dict(
    custom_hooks=('priority',),
    default_hooks=('priority',),
    init_cfg=('override',),
    losses=('share', 'student_logits'),
    optim_wrapper=('constructor', 'paramwise_cfg'),
    param_scheduler=tuple(accepted_keys(of_schedule)),
)
#: What to do about arguments that mmengine has merged into an entry of a new type.
INHERITED = 'where it is inherited from another type, add _delete_=True beside the new type'
#: Names at the top of a config that somebody reads.
TOP_LEVEL = accepted_keys(Runner).keys() | accepted_keys(of_top).keys()


class Entry(NamedTuple):
    """A part of a config that is built from a registry.

    Attributes:
        path: From the top.
        key: What the tables above know it by.
        registry: Where its type is looked up.
        config: Its content, with a type where it need not name one.
    """

    path: str
    key: str
    registry: Registry
    config: Any

    @property
    def arguments(self) -> dict[str, Any]:
        """What its class gets of the config."""
        taken_out = ('type', '_scope_', *TAKEN_OUT.get(self.key, ()))
        return {key: value for key, value in self.config.items() if key not in taken_out}


def find_entries(cfg: Mapping[str, Any]) -> Iterator[Entry]:
    """Each part of a config that is built from a registry."""
    for name, value in cfg.items():
        if name in TOP or name in LOADERS:
            yield from _entries_in(value, name, name, TOP.get(name))


def _entries_in(
    value: Any, path: str, key: str, of: Registry | None, known: bool = True
) -> Iterator[Entry]:
    """Entries at a path and below it.

    Args:
        value: What is there.
        path: From the top.
        key: What the tables above know it by.
        of: Where its type would be looked up, if it is an entry.
        known: Whether it belongs to a class of a known package. What others call a loss may be
            anything, so it is an entry only where its type is registered as one.
    """
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _entries_in(item, f'{path}.{index}', key, of, known)
    elif not isinstance(value, dict):
        if of is not None and known and isinstance(value, (str, int, float)):
            yield Entry(path, key, of, value)
    else:
        holds_settings = any(isinstance(item, (str, int, float)) for item in value.values())
        is_group = key in GROUPS and 'type' not in value and not holds_settings
        config = {'type': DEFAULTS[key], **value} if known and key in DEFAULTS else value
        kind = None
        if of is not None and not is_group and config.get('type', '') is not None:
            kind = lookup(of, config.get('type'))
            if known or callable(kind):
                yield Entry(path, key, of, config)
        for name, item in value.items():
            # names of modules, and what another library's builder of a teacher takes
            if name in ('paramwise_cfg', 'arguments'):
                continue
            below, registry = key, of if is_group else None
            if name in NESTED:
                below, registry = name, NESTED[name]
            is_ours = is_known(kind) if callable(kind) else known
            yield from _entries_in(item, f'{path}.{name}', below, registry, is_ours)


def is_of_known(cfg: Mapping[str, Any], path: str) -> bool:
    """Whether what is at a path goes to a class of a known package, or to mmengine itself."""
    known = True
    for entry in find_entries(cfg):  # the outer before those within
        if isinstance(entry.config, dict) and path.startswith(f'{entry.path}.'):
            key = path.removeprefix(f'{entry.path}.').partition('.')[0]
            known = is_known_of(lookup(entry.registry, entry.config.get('type')), key)
    return known


def misfits(cfg: Config) -> Iterator[str]:
    """Names that nobody reads, unknown types, and arguments that do not fit what they are for."""
    for key, value in cfg.items():
        # a number at the end is a name of one's own: train_dataloader2
        if key not in TOP_LEVEL and isinstance(value, (dict, list, tuple)) and key[-1].isalpha():
            for closest in difflib.get_close_matches(key, TOP_LEVEL, n=1, cutoff=0.9):
                yield (
                    f'{key}={reprlib.repr(value)} is read by nobody, did you mean {closest!r}? '
                    'Rename it, or choose a name that is less alike'
                )
    loops = ('train_cfg', 'val_cfg', 'test_cfg')  # see check_entry
    for reader in (Runner, of_top):
        given = {key: cfg[key] for key in accepted_keys(reader) if key in cfg and key not in loops}
        yield from problems_of(check_keys, given, reader, 'the config', ('work_dir',))
    for name in LOADERS:
        if isinstance(cfg.get(name), dict):
            yield from problems_of(check_loader, name, cfg[name])
    for entry in find_entries(cfg):
        yield from problems_of(check_entry, entry)


def check_loader(name: str, config: dict[str, Any]) -> None:
    """Refuse a data loader that lacks something, or keys that neither torch nor mmengine reads."""
    of_mmengine = ('num_batch_per_epoch', 'disable_subprocess_warning')
    keys = {key: value for key, value in config.items() if key not in of_mmengine}
    needed = ('dataset', 'sampler', 'batch_sampler' if 'batch_sampler' in keys else 'batch_size')
    missing = [f'{name} lacks {key}: add it' for key in needed if keys.get(key) is None]
    refuse(problems_of(check_keys, keys, DataLoader, name, ('dataset',)) or missing)


def check_entry(entry: Entry) -> None:
    """Refuse an entry without a type, of an unknown one, or with arguments that do not fit it."""
    if entry.key == 'train_cfg' and isinstance(entry.config, dict):
        entry = entry._replace(config=_with_type(entry.config))
    kind = find_kind(entry.registry, entry.config, entry.path)
    where = f'{entry.path} ({getattr(kind, "__name__", kind)})'
    # what should be an entry of its own, but is none, is refused there
    arguments = {
        key: value
        for key, value in entry.arguments.items()
        if key not in NESTED or not isinstance(value, (str, int, float)) or not is_known(kind)
    }
    supplied = {*SUPPLIED.get(entry.key, ()), *entry.config}
    if entry.key == 'optim_wrapper' and 'constructor' in entry.config:
        supplied.add('optimizer')  # which it may know itself
    problems = problems_of(check_keys, arguments, kind, where, supplied)
    known, _, is_complete, _ = find_arguments(kind)
    if is_complete and not all(are_alike(key, known) for key in arguments):
        # the first names the unknown keys; this is no slip of the pen, so perhaps inherited
        problems[0] += f'; {INHERITED}'
    refuse(problems)


def _with_type(loop: dict[str, Any]) -> dict[str, Any]:
    """The config of a training loop with the type that ``by_epoch`` stands for."""
    if ('type' in loop) == isinstance(loop.get('by_epoch'), bool):
        raise ConfigError(
            f'train_cfg={dict(loop)} must have either by_epoch=True (with max_epochs) or '
            'by_epoch=False (with max_iters), or else a type'
        )
    kind = 'EpochBasedTrainLoop' if loop.get('by_epoch') else 'IterBasedTrainLoop'
    return {'type': kind, **{key: value for key, value in loop.items() if key != 'by_epoch'}}
