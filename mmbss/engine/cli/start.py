"""What a training is about to do, on one screen."""

import textwrap
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.runner import Runner

from mmbss.engine.models import count_parameters, unwrap
from mmbss.engine.words import (
    counted,
    data_in_words,
    entry_in_words,
    leaves,
    name_of,
    teacher_in_words,
)

#: Letters of a line, and of the names that its parts begin with.
WIDTH, INDENT = 100, 12
#: Transforms that leave an image what it is.
UNCHANGED = ('LoadImageFromFile', 'PackInputs')


def start_in_words(runner: Runner) -> str:
    """Model, teacher, data, terms with their weights, schedule, and where things go."""
    return '\n'.join(
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=f'{name:{INDENT}}',
            subsequent_indent=' ' * INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in _lines(runner)
    )


def _lines(runner: Runner) -> Iterator[tuple[str, str]]:
    cfg, network = runner.cfg, unwrap(runner.model)
    model = cfg.model
    parameters = f'{count_parameters(network):,} parameters'
    teacher = model.get('teacher')
    yield (
        'model' if teacher is None else 'student',
        f'{entry_in_words(model.get("backbone", model))}, {parameters}',
    )
    if teacher is not None:
        yield 'teacher', teacher_in_words(teacher)
    loader = runner.train_dataloader
    data = f'{data_in_words(cfg.train_dataloader.dataset)}: {len(loader.dataset):,} images in '
    data += f'batches of {loader.batch_size}, {augmentation_in_words(cfg)}'
    if runner.val_loop is not None:
        data += f'; {len(runner.val_dataloader.dataset):,} images to validate with'
    yield 'data', data
    terms = [*terms_in_words(runner, network)] or ['the loss of its head']
    for number, term in enumerate(terms):
        yield '' if number else 'losses', term
    yield 'training', ', '.join(training_in_words(runner))
    device = device_in_words(next(network.parameters()).device)
    yield 'device', f'{device}, processes: {runner.world_size}, seed {runner.seed}'
    yield 'written to', f'{cfg.work_dir}; the whole log to {runner.logger.log_file}'


def device_in_words(device: torch.device) -> str:
    """Its type, and the name of a GPU or the number of threads.

    Examples:
        >>> device_in_words(torch.device('mps'))
        'mps'
    """
    if device.type == 'cuda':
        return f'cuda, {torch.cuda.get_device_name(device)}'
    return f'cpu, threads: {torch.get_num_threads()}' if device.type == 'cpu' else device.type


def augmentation_in_words(cfg: Mapping[str, Any]) -> str:
    """What becomes of the training images, but for their normalisation.

    Examples:
        >>> augmentation_in_words(dict(train_dataloader=dict(dataset=dict(type='mmbss.Digits'))))
        'as they are'
        >>> pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5)]
        >>> dataset = dict(datasets=[dict(type='CIFAR10', pipeline=pipeline)])
        >>> augmentation_in_words(dict(train_dataloader=dict(dataset=dataset)))
        'through RandomFlip'
        >>> model = dict(data_preprocessor=dict(crop_padding=4))
        >>> augmentation_in_words(dict(train_dataloader=dict(dataset={}), model=model))
        'through crop_padding'
    """
    model = cfg.get('model') or {}
    datasets = leaves(cfg['train_dataloader']['dataset'])
    steps = [each for dataset in datasets for each in dataset.get('pipeline') or ()]
    mixed = (model.get('train_cfg') or {}).get('augments') or ()
    steps += mixed if isinstance(mixed, (list, tuple)) else [mixed]
    names = [name_of(each) if isinstance(each, Mapping) else str(each) for each in steps]
    # that of the model comes first, as in mmengine
    preprocessor = model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    names += [key for key in ('crop_padding', 'flip_probability') if preprocessor.get(key)]
    said = [name for name in dict.fromkeys(names) if name not in UNCHANGED]
    return f'through {", ".join(said)}' if said else 'as they are'


def terms_in_words(runner: Runner, network: Any) -> Iterator[str]:
    """Each loss of a distiller with its weight, schedule or share; none of other models."""
    # hooks of somebody's own may have any schedules
    found = [getattr(hook, 'schedules', None) for hook in runner.hooks]
    schedules = ChainMap(*(each for each in reversed(found) if isinstance(each, dict)))
    entries = runner.cfg.model.get('losses') or {}
    for name, term in getattr(network, 'loss_modules', {}).items():
        kinds = [entry_in_words(entries.get(name, dict(type=type(term))))]
        if hasattr(term, 'attack'):
            kinds.append(type(term.attack).__name__)
        weight = f'weight {schedules.get(name, f"{term.loss_weight:g}")}'
        if (share := getattr(term, 'share', None)) is not None:
            weight = f'{share:g} of the gradient'
        yield f'{name}: {" with ".join(kinds)}, {weight}'


def training_in_words(runner: Runner) -> Iterator[str]:
    """Length, optimizer and schedule of a training."""
    cfg, loop = runner.cfg, runner.cfg.train_cfg
    if 'max_epochs' in loop:
        yield counted(loop.max_epochs, 'epoch')
    elif 'max_iters' in loop:
        yield counted(loop.max_iters, 'iteration')
    yield entry_in_words(cfg.optim_wrapper.get('optimizer', cfg.optim_wrapper))
    schedulers = cfg.get('param_scheduler') or []
    for each in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
        yield entry_in_words(each)
    if runner.val_loop is not None:
        yield f'validation every {loop.get("val_interval", 1)}'
