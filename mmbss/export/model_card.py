"""The model card of an exported student: what is known of it, and ``unknown`` where nothing is."""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.hooks.fingerprint_hook import LENGTH
from mmbss.export.deployed import Interface
from mmbss.export.measures import file_in_words
from mmbss.studies.experiments import Experiment
from mmbss.studies.provenance import repeat_commands
from mmbss.studies.run_logs import LoggedRun
from mmbss.studies.text import markdown

UNKNOWN = 'unknown'
#: Arguments of a data set that say nothing of what is in it.
NOT_OF_DATA = ('pipeline', 'metainfo', 'test_mode', 'dataset')
#: What goes in, by the order of its channels.
ORDERS = dict(
    rgb='pixels of 0 to 255, RGB',
    bgr='pixels of 0 to 255, BGR',
    gray='pixels of 0 to 255, grey',
    data='values and channels as the data set has them',
)
CODE = """```python
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession('student.onnx')
logits = session.run(['logits'], {{'pixels': pixels}})[0]  # (N, {count}, {height}, {width})
```"""


def model_card(
    name: str,
    config: Config,
    interface: Interface,
    figures: Mapping[str, Any],
    run: LoggedRun | None,
    notes: Mapping[str, str],
) -> str:
    """The card as Markdown.

    Args:
        name: Of the student.
        config: What it was trained with.
        interface: What it takes and gives.
        figures: What ``export.json`` holds.
        run: Its training, None where it is not at hand.
        notes: More that is known, text by its title.
    """
    made_with = [f'{key}: {value}' for key, value in figures['versions'].items()]
    made_with += [
        f'weights of: {figures["checkpoint"]}',
        f'exported by: `{figures["command"] or UNKNOWN}`',
    ]
    parts = [
        f'# {name}',
        sentence_of(run.config if run else config, interface),
        '## Files',
        *parts_of_files(figures),
        '## Input and output',
        *parts_of_interface(interface, 'student.onnx' in figures['files']),
        '## Accuracy',
        accuracy_of(run, figures['trained']),
        '## Training',
        items(lines_of_training(run.config if run else config, run, figures['trained'])),
        '## Made with',
        items(made_with),
        *(part for title, text in notes.items() for part in (f'## {title}', text)),
    ]
    return '\n\n'.join(part.strip('\n') for part in parts) + '\n'


def items(lines: Iterable[str]) -> str:
    """Items of a list in Markdown."""
    return '\n'.join(f'- {line}' for line in lines)


def sentence_of(config: Config, interface: Interface) -> str:
    """What the student is."""
    model = config.model
    kind = (model.get('backbone') or model).get('type', UNKNOWN)
    taught = 'distilled from a teacher' if model.get('teacher') else 'trained without a teacher'
    return (
        f'An image classifier of {len(interface.classes)} classes ({kind}), {taught}. '
        'Written by mmbss; what is not known is said to be so.'
    )


def parts_of_files(figures: Mapping[str, Any]) -> Iterator[str]:
    """The files: size, answers beside the student's, time; and who reads them."""
    yield items(f'`{name}`: {file_in_words(file)}' for name, file in figures['files'].items())
    if checks := [file['check'] for file in figures['files'].values() if file.get('check')]:
        yield (
            f'Each graph was read again and asked about {checks[0]["images"]} test images beside '
            f'the student in torch, whose largest logit is {checks[0]["largest_logit"]:.3g}. Times '
            f'are medians of a batch of one on {figures["machine"]}; other work on it slows them.'
        )
    for kind, problem in figures['problems'].items():
        yield f'**No {kind}:** {problem}'
    for weights in ('student.pth', 'student.safetensors'):
        if weights in figures['files']:
            # mmpretrain itself reads torch's files alone
            needs = figures['needs'] or ['mmbss'] * weights.endswith('.safetensors')
            also = f'where {", ".join(needs)} can be imported too' if needs else 'without mmbss'
            yield (
                f"`student.py` with `{weights}` is read by `mmpretrain.get_model('student.py', "
                f"pretrained='{weights}')`, {also}."
            )
            return


def as_literal(name: str) -> str:
    """A name that Markdown shows as it is, and that a list between commas can hold.

    Examples:
        >>> as_literal('tiger cat'), as_literal('lynx, catamount'), as_literal('a`b')
        ('tiger cat', '`lynx, catamount`', '`` a`b ``')
    """
    if re.fullmatch(r'[\w .-]*', name):
        return name
    return f'`` {name} ``' if '`' in name else f'`{name}`'


def parts_of_interface(interface: Interface, has_onnx: bool) -> Iterator[str]:
    """What goes in, what comes out, and how it is called where there is an ONNX file."""
    order = ORDERS[interface.channels]
    size = f'{interface.width} x {interface.height} (width x height)'
    mean, std = (
        f'({", ".join(f"{value:.6g}" for value in values)})'
        for values in (interface.mean, interface.std)
    )
    yield items(
        [
            f'`pixels`: float32 (N, C, H, W), {order}, {size}. The graphs '
            f'(.onnx, .pt2) normalise them themselves (mean {mean} and standard deviation {std}).',
            f'`logits`: float32 (N, {len(interface.classes)}); their softmax sums to 1, its '
            'calibration is unknown.',
            f'classes: {", ".join(map(as_literal, interface.classes))}',
        ]
    )
    if has_onnx:
        channels = dict(rgb=3, bgr=3, gray=1).get(interface.channels, 'C')
        yield CODE.format(count=channels, height=interface.height, width=interface.width)


def accuracy_of(run: LoggedRun | None, trained: Mapping[str, Any]) -> str:
    """What the log of the training says of the validation of these weights."""
    unit = 'epoch' if run and run.by_epoch else 'iteration'
    step = trained.get('epoch' if unit == 'epoch' else 'iter')
    records = run.val_records if run else []
    found = [record for record in records if record.get('step') == step]
    length = trained.get(LENGTH)
    if unit == 'epoch' and length and trained.get('iter') != step * length:
        found = []  # it is from the middle of the epoch that follows
    if not found:
        return f'Of its validation: {UNKNOWN}, no log beside the checkpoint says it.'
    rows = [
        [name, f'{value:.6g}']
        for name, value in found[-1].items()
        if isinstance(value, int | float) and name not in ('step', 'time', 'data_time')
    ]
    table = markdown(['metric', 'value'], rows)
    return f'The validation of its training after {unit} {step}:\n\n{table}'


def lines_of_training(
    config: Config, run: LoggedRun | None, trained: Mapping[str, Any]
) -> Iterator[str]:
    """Data, teacher, method, and how to repeat it."""
    yield f'data: {data_of(config.get("train_dataloader"))}'
    yield f'tested on: {data_of(config.get("test_dataloader") or config.get("val_dataloader"))}'
    teacher = config.model.get('teacher')
    if teacher is not None:
        for each in teacher.config if isinstance(teacher.get('config'), list) else [teacher]:
            said = each.get('config')
            named = said if isinstance(said, str) else 'a model given in the config itself'
            yield f'teacher: {named}, weights {each.get("checkpoint") or "of its source"}'
            yield f'licence of its weights: {licence_of(said) or UNKNOWN}'
    for name, loss in config.model.get('losses', {}).items():
        yield f'{name}: {said_of(loss)}'
    steers = (config.get('default_hooks') or {}).get('bss') or {}
    for name, schedule in (steers.get('schedules') or {}).items():
        yield f'weight of {name}: {said_of(schedule)}'
    train = config.get('train_cfg') or {}
    length = [f'{key}={train[key]}' for key in ('max_epochs', 'max_iters') if train.get(key)]
    yield f'length: {", ".join(length) or UNKNOWN}'
    yield f'seed: {trained.get("seed", UNKNOWN)}'
    yield f'commit of the training: {(run.info.get("commit") if run else None) or UNKNOWN}'
    again = repeat_commands(run.folder, [Experiment(run.name, [run])], []) if run else []
    yield f'to train it again: {f"`{again[0]}`" if again else UNKNOWN}'


def data_of(loader: Mapping[str, Any] | None) -> str:
    """Types and places of a loader's data, from the outermost in."""
    said, dataset = [], (loader or {}).get('dataset')
    while isinstance(dataset, Mapping):
        own = {key: value for key, value in dataset.items() if key not in NOT_OF_DATA}
        short = {k: v for k, v in own.items() if v not in (None, '') and len(str(v)) < 80}
        said.append(said_of(short))
        dataset = dataset.get('dataset')
    return ' of '.join(said) or UNKNOWN


def said_of(settings: Any) -> str:
    """The type of a part of a config and its arguments.

    Examples:
        >>> said_of(dict(type='mmbss.KDLoss', temperature=3.0))
        'KDLoss (temperature=3.0)'
        >>> said_of(dict(start=4.0, end=1.0))
        'start=4.0, end=1.0'
    """
    if not isinstance(settings, Mapping):
        return str(settings)
    kind = str(settings.get('type', '')).rpartition('.')[2]
    arguments = ', '.join(
        f'{key}={said_of(value)}' for key, value in settings.items() if key != 'type'
    )
    return f'{kind} ({arguments})' if kind and arguments else kind or arguments


def licence_of(teacher: Any) -> str | None:
    """Licence of a teacher's weights as its library names it, without loading them.

    Args:
        teacher: What its config calls it.
    """
    scheme, _, name = str(teacher).partition(':')
    if scheme == 'timm' and find_spec('timm'):
        import timm

        known = timm.get_pretrained_cfg(name, allow_unregistered=True)
        return getattr(known, 'license', None)
    readme = Path(name, 'README.md')
    if scheme == 'hf' and readme.is_file():
        named = re.search(r'^license:\s*(\S+)', readme.read_text(errors='replace'), re.M)
        return named[1] if named else None
    return None
