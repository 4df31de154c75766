"""Biases of classes that the training set lacked, or of the only ones it had.

One number is added to the biases of all of them (Hinton et al. 2015, section 3).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor

from mmbss.distillers.data_samples import class_labels
from mmbss.engine.cli.config import load_config
from mmbss.engine.errors import ConfigError, refuse
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.studies.classifiers import load_classifier
from mmbss.studies.text import markdown, spread

BIAS = 'head.fc.bias'
#: What the shift that is written was chosen on.
HELD_OUT = 'held-out training images'


def best_shift(logits: np.ndarray, labels: np.ndarray, classes: list[int]) -> float:
    """Find the shift of the logits of some classes that leaves the fewest errors.

    A sample goes over to the given classes where the shift exceeds the lead of the best other
    class, so all shifts between two leads are alike, and all of them are tried.

    Args:
        logits: (N, K).
        labels: (N,) class of each sample.
        classes: The classes whose logits are shifted, some but not all of the K.

    Returns:
        Of the best shifts the one closest to 0, midway between two leads, or 1 beyond the last.

    Examples:
        >>> best_shift(np.array([[4.0, 0.0], [3.0, 0.0], [2.0, 0.0]]), np.array([0, 1, 1]), [1])
        3.5
    """
    inside = np.isin(np.arange(logits.shape[1]), classes)
    shifted = np.where(inside, logits, -np.inf)
    others = np.where(inside, -np.inf, logits)
    leads = others.max(1) - shifted.max(1)
    order = leads.argsort()
    leads = leads[order]
    # errors once the first i samples have gone over, i = 0 to N
    gone_over = np.cumsum(np.r_[0, (shifted.argmax(1) != labels)[order]])
    left = np.cumsum(np.r_[0, (others.argmax(1) != labels)[order][::-1]])[::-1]
    edges = np.r_[leads[0] - 2, leads, leads[-1] + 2]
    shifts, errors = (edges[:-1] + edges[1:]) / 2, gone_over + left
    reachable = np.diff(edges) > 0  # no shift lies between two samples of one lead
    best = reachable & (errors == errors[reachable].min())
    return float(min(shifts[best], key=abs))


def count_errors(
    logits: np.ndarray, labels: np.ndarray, classes: list[int], shift: float = 0.0
) -> tuple[int, int]:
    """Errors in all, and on the samples of ``classes``, whose biases are shifted."""
    shifted = logits.copy()
    shifted[:, classes] += shift
    wrong = shifted.argmax(1) != labels
    return int(wrong.sum()), int(wrong[np.isin(labels, classes)].sum())


@torch.no_grad()
def read_logits(model: Any, loader: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) float64 logits and (N,) labels of all samples of a loader's config."""
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in Runner.build_dataloader(loader):
        data = model.data_preprocessor(batch)
        logits.append(model(data['inputs'], mode='tensor').double().cpu())
        labels.append(class_labels(data['data_samples']).cpu())
    return torch.cat(logits).numpy(), torch.cat(labels).numpy()


def load(config: str, checkpoint: str) -> tuple[Any, dict[str, Any]]:
    """Build the plain classifier of a config and fill it; also returns the file's content.

    Raises:
        ConfigError: If the checkpoint does not fit, or the head has no bias to shift.
    """
    model = load_classifier(dict(config=config, checkpoint=checkpoint), 'shift_bias')
    content = read_checkpoint(checkpoint)
    content = content if 'state_dict' in content else dict(state_dict=content)
    if BIAS not in content['state_dict']:
        raise ConfigError(f'{config}: a LinearClsHead is needed, there is no {BIAS} to shift')
    return model, content


def check_classes(classes: list[int], num_classes: int, labels: np.ndarray) -> None:
    """Refuse classes for which no shift can be found, by the labels of the held-out images."""
    if not {*classes} < {*range(num_classes)}:
        raise ConfigError(
            f'--classes must be some, not all, of 0 to {num_classes - 1}, got {classes}'
        )
    if absent := sorted({*classes} - {*labels.tolist()}):
        raise ConfigError(f'held_out_dataloader has no sample of class {absent}')


def examine(
    model: Any, cfg: Config, classes: list[int]
) -> tuple[dict[str, tuple[float, int, int, int]], int]:
    """What shifting the biases of some classes does to one network.

    Returns:
        By what the shift is chosen on: the shift, its errors on the held-out images, those on the
        test set, and those on test samples of the classes; and the number of these samples.
    """
    held_out = read_logits(model, cfg.held_out_dataloader)
    check_classes(classes, held_out[0].shape[1], held_out[1])
    test = read_logits(model, cfg.test_dataloader)
    shifts = {
        'none': 0.0,
        HELD_OUT: best_shift(*held_out, classes),
        'test set (too good)': best_shift(*test, classes),
    }
    rows = {
        name: (
            shift,
            count_errors(*held_out, classes, shift)[0],
            *count_errors(*test, classes, shift),
        )
        for name, shift in shifts.items()
    }
    return rows, int(np.isin(test[1], classes).sum())


def describe(values: Sequence[float], form: str) -> str:
    """A number, or the mean and the standard deviation of several and these themselves.

    Examples:
        >>> describe([3], '.1f'), describe([1.0, 2.0], '+.1f'), describe([1, 2], '.1f')
        ('3', '+1.5 ± 0.7 (+1.0, +2.0)', '1.5 ± 0.7 (1, 2)')
    """
    singles = [str(value) if isinstance(value, int) else f'{value:{form}}' for value in values]
    return singles[0] if len(singles) == 1 else f'{spread(values, form)} ({", ".join(singles)})'


def shift_networks(
    config: str, checkpoints: Sequence[str], classes: list[int], out: Path | None
) -> tuple[str, list[Path]]:
    """Shift the biases of networks that a config has trained, and write them.

    Args:
        config: Path of a config with a ``held_out_dataloader``.
        checkpoints: Of the networks; each is shifted by a number of its own.
        classes: The classes whose biases are shifted.
        out: Where to write, if there is one network; None writes ``*_shifted.pth`` beside each.

    Returns:
        A table in Markdown of what the shifts do, and the files that were written.

    Raises:
        ConfigError: If the config has no held-out images, a checkpoint does not fit, is no file
            beside which could be written or would be written over, or no shift can be found for the
            classes.
    """
    cfg = load_config(config)
    if cfg.get('test_dataloader') is None:
        raise ConfigError(f'{config} has no test_dataloader, whose errors are counted')
    if cfg.get('held_out_dataloader') is None:
        raise ConfigError(
            f'{config} has no held_out_dataloader: name training images, with samples of all '
            'classes, that the network was not trained on'
        )
    refuse(
        f'{checkpoint} is no file beside which the shifted one could lie: give --out'
        for checkpoint in checkpoints
        if out is None and '://' in checkpoint
    )
    written = [
        out or Path(f'{Path(checkpoint).with_suffix("")}_shifted.pth') for checkpoint in checkpoints
    ]
    kept = [*map(Path.resolve, map(Path, checkpoints))]
    refuse(
        f'{path} would be written over: name each network and --out otherwise'
        for number, path in enumerate(written)
        if path.resolve() in kept or path in written[:number]
    )
    networks, loaded = [], [load(config, checkpoint) for checkpoint in checkpoints]
    for (model, content), path in zip(loaded, written, strict=True):
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            rows, count = examine(model, cfg, classes)
        networks.append(rows)
        content['state_dict'][BIAS][classes] += rows[HELD_OUT][0]
        with whole_file(path) as part:
            torch.save(
                {key: content[key] for key in ('meta', 'state_dict') if key in content}, part
            )
    head = [
        'shift chosen on',
        'shift',
        'held-out errors',
        'test errors',
        f'on {count} of {classes}',
    ]
    lines = []
    for name in networks[0]:
        columns = zip(*(rows[name] for rows in networks), strict=True)
        lines.append([name, *map(describe, columns, ('+.2f', '.1f', '.1f', '.1f'))])
    return markdown(head, lines), written
