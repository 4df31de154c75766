"""Hand a trained student over: files that need no mmbss, checked against it on real images."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from torch import Tensor

from mmbss.distillers.classifiers import normalisation, num_classes
from mmbss.engine.atomic import check_empty, whole_folder
from mmbss.engine.cli import load_config
from mmbss.engine.errors import ConfigError
from mmbss.engine.files import read_checkpoint
from mmbss.engine.finite import non_finite
from mmbss.engine.ranges import check_at_least
from mmbss.export.deployed import Deployed, Interface
from mmbss.export.formats import (
    FORMATS,
    TRACED,
    Ask,
    as_ask,
    check_formats,
    cpu_count,
    open_onnx,
    open_pt2,
    trace,
    write_onnx,
    write_pt2,
    write_weights,
)
from mmbss.export.measures import compare, latency, machine
from mmbss.export.model_card import model_card, run_of
from mmbss.export.plain_config import needed_packages, plain_config, without_pretrained
from mmbss.export.real_images import (
    RealImages,
    channels_of,
    read_real_images,
    swaps_channels,
    transforms_of,
)
from mmbss.report.classifiers import load_classifier
from mmbss.report.provenance import versions

#: Name of all files, before their ending.
STUDENT = 'student'


@dataclass(frozen=True)
class ExportResult:
    """What was written, and what was found in reading it again.

    Attributes:
        folder: Where all of it lies.
        files: Path of each file by its format, such as ``onnx``; of the config as ``config``, and
            of the model card as ``card``.
        figures: What ``export.json`` holds: ``files`` (bytes, check and latency by name),
            ``interface``, ``versions`` and more.
        problems: Why a format was asked for and is not there, by its name.
        assumed: What was taken to be so, since nothing says it.
    """

    folder: Path
    files: dict[str, Path]
    figures: dict[str, Any]
    problems: dict[str, str] = field(default_factory=dict)
    assumed: str | None = None


def export_student(
    config: str | Path | Config,
    checkpoint: str | Path,
    folder: str | Path,
    *,
    formats: Sequence[str] = tuple(FORMATS),
    normalise: bool = True,
    check_images: int = 256,
    opset: int | None = None,
    classes: Sequence[str] | None = None,
    channels: str | None = None,
    command: str = '',
    notes: Mapping[str, str] | None = None,
) -> ExportResult:
    """Write a student's weights, its plain config, its graph and a model card into a folder.

    Args:
        config: What it was trained with: a path, or the whole config. That of a distiller stands
            for its student.
        checkpoint: Its weights; of a run with an EMA those are the averaged ones.
        folder: Where to write; it must be empty, or not there.
        formats: Some of ``FORMATS``.
        normalise: Whether the graphs take pixels and normalise them themselves.
        check_images: Test images that each graph is checked with, evenly spread over them.
        opset: Version of ONNX's operators; None leaves it to torch.
        classes: Names of the classes, where neither checkpoint nor data says them.
        channels: ``'rgb'`` or ``'bgr'``, where the data does not say it.
        command: The command line, for the model card.
        notes: More for the model card, text by its title.

    Raises:
        MissingFileError: If the config, the checkpoint or the test images do not exist.
        ConfigError: If the checkpoint does not fit, the classes are unknown or contradict each
            other, a format is unknown or its package not installed, the folder is not empty, or
            the test images have several sizes.
    """
    formats, checkpoint, folder = tuple(dict.fromkeys(formats)), Path(checkpoint), Path(folder)
    check_formats(formats, opset, normalise)
    check_at_least(None, 1, check_images=check_images)
    check_empty(folder)
    cfg = config if isinstance(config, Config) else load_config(str(config))
    model = load_student(cfg, checkpoint)
    images = read_real_images(cfg, model.data_preprocessor, check_images)
    meta = meta_of(checkpoint)
    names = class_names(classes, meta, images, num_classes(model))
    interface, assumed = interface_of(cfg, model, images, names, channels)
    interface = replace(interface, normalises=normalise)
    deployed, run = Deployed(model, normalise).eval(), run_of(checkpoint)
    transforms = transforms_of(cfg)

    with whole_folder(folder) as part:
        files = {'config': part / f'{STUDENT}.py'}
        plain_config(cfg, model, interface).dump(str(files['config']))
        for kind in (kind for kind in ('safetensors', 'pth') if kind in formats):
            files[kind] = part / f'{STUDENT}.{kind}'
            write_weights(model.state_dict(), interface, files[kind])
        measured, problems = write_graphs(deployed, images, interface, formats, opset, part)
        if 'pth' in formats:
            image = images.pixels[:1].numpy()
            measured['pth'] = dict(latency_ms=latency(lambda threads: student_of(model), image))
        files |= {kind: part / f'{STUDENT}.{kind}' for kind in measured}
        figures = dict(
            files={
                path.name: dict(bytes=path.stat().st_size, **measured.get(kind, {}))
                for kind, path in files.items()
            },
            interface=interface.to_dict(),
            problems=problems,
            assumed=assumed,
            needs=sorted(needed_packages(model, transforms)),
            machine=machine(),
            checkpoint=str(checkpoint),
            trained={
                key: meta[key]
                for key in ('epoch', 'iter', 'seed')
                if isinstance(meta.get(key), int)
            },
            command=command,
            versions=versions(),
        )
        (part / 'export.json').write_text(json.dumps(figures, indent=2) + '\n')
        files['card'] = part / 'README.md'
        name = run.name if run else checkpoint.stem
        card = model_card(name, cfg, interface, figures, run, notes or {})
        files['card'].write_text(card, encoding='utf-8')
    written = {kind: folder / path.name for kind, path in files.items()}
    return ExportResult(folder, written, figures, problems, assumed)


def load_student(cfg: Config, checkpoint: Path) -> ImageClassifier:
    """The plain classifier of a config with its weights, in eval mode on the CPU.

    Raises:
        MissingFileError: If there is no such checkpoint.
        ConfigError: If the config has no model, or the checkpoint does not fit or is not finite.
    """
    if 'model' not in cfg:
        raise ConfigError(f'config {cfg.filename} defines no model')
    given = without_pretrained(cfg.model.to_dict())
    if cfg.get('data_preprocessor') is not None:
        given.setdefault('data_preprocessor', cfg.data_preprocessor.to_dict())
    model = load_classifier(dict(config=given, checkpoint=checkpoint), cfg.filename or 'export')
    if broken := non_finite(model.state_dict()):
        raise ConfigError(f'{checkpoint} holds NaN or infinity: {shortened(broken)}: take another')
    return model.cpu()


def meta_of(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says beside its weights; empty where it says nothing."""
    meta = read_checkpoint(checkpoint).get('meta')
    return meta if isinstance(meta, dict) else {}


def class_names(
    given: Sequence[str] | None, meta: Mapping[str, Any], images: RealImages, count: int | None
) -> tuple[str, ...]:
    """Names of the classes: those that the user gives, or those of checkpoint and data.

    Args:
        given: By the user.
        meta: Of the checkpoint, see :func:`meta_of`; may name those that it was trained on.
        images: May name them, too.
        count: How many the network knows, None where it does not say it.

    Raises:
        ConfigError: If nobody names them, they contradict each other, or are too few or too many.
    """
    of_data = meta.get('dataset_meta')
    named = of_data.get('classes') if isinstance(of_data, dict) else None
    trained = tuple(map(str, named)) if named and isinstance(named, list | tuple) else None
    if given is None and None not in (trained, images.classes) and trained != images.classes:
        raise ConfigError(
            f'the checkpoint was trained on the classes {shortened(trained)}, the test data has '
            f'{shortened(images.classes)}: test with the data of the training'
        )
    names = tuple(given) if given is not None else trained or images.classes
    if names is None:
        raise ConfigError(
            'neither the checkpoint nor the test data names the classes: give them with --classes'
        )
    check_names(names, count)
    return names


def check_names(names: Sequence[str], count: int | None) -> None:
    """Refuse names of classes that are not one line each, or too few or too many.

    Args:
        names: Of the classes.
        count: How many the network knows, None where it does not say it.

    Raises:
        ConfigError: With the names.
    """
    if not all(len(name.splitlines()) == 1 and name.strip() for name in names):
        raise ConfigError(f'names of classes must be of one line and not empty: {[*names]}')
    if count not in (None, len(names)):
        raise ConfigError(f'{len(names)} names of classes, {shortened(names)}, for {count} logits')


def shortened(names: Sequence[str] | None) -> str:
    """The first names of many."""
    return ', '.join([*(names or ())[:5], *(['...'] if len(names or ()) > 5 else [])])


def interface_of(
    cfg: Config,
    model: ImageClassifier,
    images: RealImages,
    classes: tuple[str, ...],
    channels: str | None,
) -> tuple[Interface, str | None]:
    """What a student takes and gives, and what had to be assumed."""
    count, height, width = images.pixels.shape[1:]
    preprocessor = model.data_preprocessor
    order, assumed = channels_of(transforms_of(cfg), preprocessor, count, channels)
    # as they are written, not as float32 holds them, which is the same once they are float32 again
    mean, std = (
        tuple(float(f'{value:.7g}') for value in part.flatten().tolist())
        for part in normalisation(preprocessor)
    )
    return Interface(classes, order, height, width, mean, std), assumed


def student_of(model: ImageClassifier) -> Ask:
    """Logits of pixels, through the student's own data preprocessor."""

    def ask(pixels: Tensor) -> Tensor:
        preprocessor = model.data_preprocessor
        given = pixels.flip(1) if swaps_channels(preprocessor, pixels.shape[1]) else pixels
        return model(preprocessor(dict(inputs=given), False)['inputs'], mode='tensor')

    return as_ask(ask)


def write_graphs(
    deployed: Deployed,
    images: RealImages,
    interface: Interface,
    formats: Sequence[str],
    opset: int | None,
    folder: Path,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Write each graph, read it again, and compare its answers with the student's.

    Returns:
        Check and latency of each graph that is right, and what is wrong with those that are not,
        of which no file is left; both by the format.
    """
    kinds = [kind for kind in ('onnx', 'pt2') if kind in formats]
    if not kinds:
        return {}, {}
    try:
        program = trace(deployed, deployed.prepare(images.pixels[:1]).repeat(TRACED, 1, 1, 1))
    except ConfigError as error:
        return {}, dict.fromkeys(kinds, str(error))
    measured, problems = {}, {}
    for kind in kinds:
        path = folder / f'{STUDENT}.{kind}'
        try:
            if kind == 'onnx':
                write_onnx(program, interface, opset, path)
                open_file: Callable[[int], Ask] = partial(open_onnx, path)
            else:
                write_pt2(program, interface, path)
                open_file = partial(open_pt2, path)
            asked = prepared(deployed, open_file(cpu_count()))
            check = compare(asked, student_of(deployed.model), images.pixels.numpy())
            if not check.is_equal:
                raise ConfigError(
                    f"its logits differ by {check.largest_difference:.3g} from the student's, "
                    f'and {100 * check.equal_decisions:.2f} % of {check.images} decisions are equal'
                )
        except ConfigError as error:
            problems[kind] = str(error)
            path.unlink(missing_ok=True)
            continue
        image = deployed.prepare(images.pixels[:1]).numpy()
        times = latency(open_file, image)
        measured[kind] = dict(check=check.to_dict(), latency_ms=times)
    return measured, problems


def prepared(deployed: Deployed, ask: Ask) -> Ask:
    """Ask about pixels what may want them normalised."""
    return lambda pixels: ask(deployed.prepare(torch.from_numpy(pixels)).numpy())
