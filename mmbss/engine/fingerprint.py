"""What the result of a training depends on, in plain text; and what a resume makes of changes."""

import fnmatch
import hashlib
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

#: Bytes of a model, and rows of a dataset, that are looked at, spread evenly over all: no more than
#: takes a blink.
MOST_BYTES, MOST_ROWS = 2**24, 256

#: Parts of a config of which the result of a training may depend.
PARTS = (
    *('model', 'data_preprocessor', 'train_dataloader', 'train_cfg', 'optim_wrapper'),
    *('param_scheduler', 'auto_scale_lr', 'randomness', 'default_hooks', 'custom_hooks'),
    *('sync_bn', 'efficient_conv_bn_eval', 'val_dataloader', 'val_cfg', 'val_evaluator'),
)
#: Of these, what no result depends on, what is known by its content (weights), or stored on its
#: own (the seed).
LEFT_OUT = (
    *('*.init_cfg*', '*.pretrained', 'model.teacher.checkpoint', 'randomness.seed'),
    'model.teacher.config.*.checkpoint',  # of several teachers
    *('*_dataloader.pin_memory', '*_dataloader.persistent_workers'),
    *('*_dataloader.prefetch_factor', '*_dataloader.timeout'),
    *(
        f'default_hooks.{name}.*'
        for name in (
            *('timer', 'logger', 'checkpoint', 'visualization', 'runtime_info', 'fingerprint'),
            *('hook_states', 'teacher_accuracy', 'finite_loss'),
        )
    ),
    *(
        f'custom_hooks.*{name}Hook.*'
        for name in ('Timer', 'Logger', 'Checkpoint', 'Profiler', 'EmptyCache', 'Visualization')
    ),
)
#: What the state in a checkpoint takes the place of, but for types.
OVERRIDDEN = ('optim_wrapper.optimizer.*', 'param_scheduler.*', 'auto_scale_lr.*')
#: What changes the course of a run, but not what a step does with the same batch.
SAID = (
    *('val_*', 'train_cfg.val_*', 'train_cfg.dynamic_intervals*', 'train_cfg.max_*'),
    *('*_dataloader.num_workers', 'randomness.*', 'model.teacher.acceleration*'),
    'model.teacher.config.*.acceleration*',
    *('model.teacher.config', 'model.teacher.config.*.config'),
    *('*.data_root', '*.data_prefix*', '*.ann_file', '*.data_file', 'code.*'),
    *('default_hooks.teacher_cache*', 'custom_hooks.*TeacherCacheHook*'),  # it looks itself
)
ABSENT = 'nothing'


class Changes(NamedTuple):
    """What differs between the run of a checkpoint and the one that goes on from it, by path.

    Attributes:
        refused: Makes the result another one.
        overridden: Is not used, since the state of the checkpoint takes its place.
        said: Anything else.
    """

    refused: dict[str, str]
    overridden: dict[str, str]
    said: dict[str, str]


def settings_of(cfg: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a config that a result may depend on, by their paths, as text.

    Examples:
        >>> settings_of(dict(work_dir='a', train_dataloader=dict(batch_size=8, pin_memory=True)))
        {'train_dataloader.batch_size': '8'}
    """
    return {
        path: text
        for name in PARTS
        for path, text in leaves(cfg.get(name), name)
        if not _is_one_of(path, LEFT_OUT)
    }


def compare(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Sort what differs between two fingerprints.

    Args:
        before: Of the checkpoint.
        now: Of the run that goes on.

    Examples:
        >>> compare({'optim_wrapper.accumulative_counts': '1'}, {}).refused.values()
        dict_values(['optim_wrapper.accumulative_counts=nothing (was 1)'])
    """
    changes = Changes({}, {}, {})
    # a schedule over shares of the training moves with its length
    has_shares = any(fnmatch.fnmatchcase(path, '*_hooks.*.schedules.*') for path in now)
    for path in sorted({*before, *now}):
        old, new = before.get(path, ABSENT), now.get(path, ABSENT)
        if old == new:
            continue
        line = f'{path}={reprlib.repr(new)[1:-1]} (was {reprlib.repr(old)[1:-1]})'
        if same_numbers(old, new):
            changes.said[path] = line  # a count may be another thing than a share: 1 or 1.0
        elif _is_one_of(path, OVERRIDDEN) and not path.endswith('.type'):
            changes.overridden[path] = line
        elif _is_one_of(path, SAID) and not (has_shares and path.startswith('train_cfg.max_')):
            changes.said[path] = line
        else:
            changes.refused[path] = line
    return changes


def same_numbers(before: str, now: str) -> bool:
    """Whether two texts of settings differ in nothing but 3 and 3.0.

    Examples:
        >>> same_numbers('[1, 0.5]', '[1.0, 0.5]'), same_numbers('1', 'True')
        (True, False)
    """
    one, other = (re.sub(r"(?<![\w.'])(\d+)\.0(?![\w.'])", r'\1', text) for text in (before, now))
    return one == other


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """A number that other weights hardly ever have, from a state dict on any device.

    Of a large model every few values are looked at.
    """
    size = sum(value.numel() * value.element_size() for value in state.values())
    step = 1 + size // MOST_BYTES
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(f'{name}{tuple(value.shape)}{value.dtype}'.encode())
        part = value.detach().reshape(-1)[::step]
        part = part.clone(memory_format=torch.contiguous_format).cpu()
        digest.update(part.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def structure_of(network: nn.Module) -> str:
    """A number that other modules than those of a network, or in other places, hardly ever have.

    The loss with which a classifier was trained is no part of it.
    """
    parts = [
        f'{name} {type(module).__name__}({module.extra_repr()})'
        for name, module in network.named_modules()
        if 'loss' not in name
    ]
    # of functions and objects that are shown by their places in memory
    text = re.sub(' at 0x[0-9a-f]+', '', repr(parts))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """Sixteen characters that tell the content of a file from others."""
    with Path(path).open('rb') as content:
        return hashlib.file_digest(content, 'sha256').hexdigest()[:16]


def data_digest(dataset: Any) -> str:
    """The length of a dataset, and a number that other classes, labels or files hardly ever have.

    Rows spread over all are looked at: their labels, names of files, and pixels in memory. Of a
    dataset that tells nothing of its rows, the length and the classes alone are known.
    """
    digest = hashlib.sha256(
        repr((getattr(dataset, 'metainfo', None) or {}).get('classes')).encode()
    )
    rows = np.linspace(0, len(dataset) - 1, min(len(dataset), MOST_ROWS)).astype(int)
    # wrappers and datasets of others
    with suppress(AttributeError, NotImplementedError, TypeError):
        for row in rows:
            for key, value in sorted(dataset.get_data_info(int(row)).items()):
                if isinstance(value, (np.ndarray, Tensor)):
                    digest.update(np.ascontiguousarray(value).tobytes())
                elif isinstance(value, (str, Path)):
                    digest.update(Path(value).name.encode())
                elif isinstance(value, (int, float, np.generic, list, tuple)):
                    digest.update(f'{key}{value}'.encode())
    return f'{len(dataset)} samples, {digest.hexdigest()[:16]}'


def _is_one_of(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every setting below a part of a config; entries of a list by their types, and their order.

    Those without a type have their place instead, as several teachers have.
    """
    if path == 'param_scheduler' and isinstance(value, Mapping):
        value = [value]
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f'{path}.{key}')
    elif isinstance(value, (list, tuple)) and holds_settings(value):
        names: list[str] = []
        for place, item in enumerate(value):
            if isinstance(item, Mapping) or holds_settings(item):
                kind = text_of(item.get('type', place) if isinstance(item, Mapping) else place)
            else:
                kind = text_of(item)
            names.append(kind.strip("'").rpartition('.')[2])
            count = names.count(names[-1])
            yield from leaves(item, f'{path}.{names[-1]}' + (f'#{count}' if count > 1 else ''))
        if path != 'custom_hooks':
            yield path, f'[{", ".join(names)}]'
    elif value is not None:
        yield path, text_of(value)


def holds_settings(value: Any) -> bool:
    """Whether there are dicts in a list, or in a list in it."""
    return isinstance(value, (list, tuple)) and any(
        isinstance(item, Mapping) or holds_settings(item) for item in value
    )


def text_of(value: Any) -> str:
    """A setting as text; of what is no number, text or list, the name."""
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(text_of, value))}]'
    if isinstance(value, (bool, int, float, str)) or value is None:
        return repr(value)
    if callable(value) and hasattr(value, '__qualname__'):
        return repr(f'{value.__module__}.{value.__qualname__}')
    return type(value).__name__
