"""Hand a trained student over: files that need no mmbss, checked against it on real images."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.cli.config import load_config
from mmbss.engine.errors import ConfigError
from mmbss.engine.files.atomic import check_empty, whole_folder
from mmbss.engine.fingerprint import file_digest
from mmbss.engine.hooks.fingerprint_hook import LENGTH
from mmbss.engine.pipelines import transforms_of
from mmbss.engine.ranges import check_at_least
from mmbss.export.deployed import Deployed, Interface
from mmbss.export.formats import (
    FORMATS,
    GRAPHS,
    STUDENT,
    TRACED,
    check_formats,
    cpu_count,
    trace,
    write_weights,
)
from mmbss.export.measures import compare, latency, machine
from mmbss.export.model_card import model_card
from mmbss.export.plain_config import needed_packages, plain_config
from mmbss.export.real_images import RealImages, read_real_images
from mmbss.export.student import class_names, interface_of, load_student, student_of
from mmbss.studies.provenance import versions
from mmbss.studies.run_logs import is_run, read_run
from mmbss.teachers.classifiers import num_classes


def export_student(
    config: str | Path | Config,
    checkpoint: str | Path,
    folder: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    check_images: int = 256,
    opset: int | None = None,
    classes: Sequence[str] | None = None,
    channels: str | None = None,
    command: str = '',
    notes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write a student's weights, its plain config, its graph and a model card into a folder.

    Args:
        config: What it was trained with: a path, or the whole config. That of a distiller stands
            for its student.
        checkpoint: Its weights; of a run with an EMA those are the averaged ones.
        folder: Where to write; it must be empty, or not there.
        formats: Some of ``FORMATS``.
        check_images: Test images that each graph is checked with, evenly spread over them.
        opset: Version of ONNX's operators; None leaves it to torch.
        classes: Names of the classes, where neither checkpoint nor data says them.
        channels: ``'rgb'`` or ``'bgr'``, where the data does not say it.
        command: The command line, for the model card.
        notes: More for the model card, text by its title.

    Returns:
        What was found in reading the files again, which is also written to ``export.json``:
        ``files`` (bytes, check and latency by name), ``interface``, ``problems`` (why a format was
        asked for and is not there, by its name), ``assumed`` (what nothing says, None where there
        is no such thing), ``versions`` and more.

    Raises:
        MissingFileError: If the config, the checkpoint or the test images do not exist.
        ConfigError: If the checkpoint does not fit or was trained with another normalisation, the
            classes are unknown or contradict each other, a format is unknown or its package not
            installed, the folder is not empty, or the test images have several sizes.
    """
    formats, folder = tuple(dict.fromkeys(formats)), Path(folder)
    check_formats(formats, opset)
    check_at_least(None, 1, check_images=check_images)
    check_empty(folder)
    cfg = config if isinstance(config, Config) else load_config(str(config))
    model, meta = load_student(cfg, checkpoint)
    images = read_real_images(cfg, model.data_preprocessor, check_images)
    names = class_names(classes, meta, images, num_classes(model))
    interface, assumed = interface_of(cfg, model, images, names, channels)
    deployed = Deployed(model).eval()
    beside = Path(checkpoint).parent
    run = read_run(beside) if is_run(beside) else None

    with whole_folder(folder) as part:
        plain_config(cfg, model, interface, images.stored).dump(part / f'{STUDENT}.py')
        for kind in ('safetensors', 'pth'):
            if kind in formats:
                write_weights(model.state_dict(), interface, part / f'{STUDENT}.{kind}')
        measured, problems = write_graphs(deployed, images, interface, formats, opset, part)
        if 'pth' in formats:
            image = images.pixels[:1].numpy()
            measured['pth'] = dict(latency_ms=latency(lambda threads: student_of(model), image))
        figures = dict(
            files={
                file.name: dict(bytes=file.stat().st_size, **measured.get(file.suffix[1:], {}))
                for file in sorted(part.iterdir())
            },
            interface=interface.to_dict(),
            problems=problems,
            assumed=assumed,
            needs=sorted(needed_packages(model, transforms_of(cfg))),
            machine=machine(),
            checkpoint=str(checkpoint),
            checkpoint_digest=file_digest(checkpoint) if Path(checkpoint).is_file() else None,
            trained=trained_of(meta),
            command=command,
            versions=versions(),
        )
        (part / 'export.json').write_text(json.dumps(figures, indent=2) + '\n')
        name = run.name if run else Path(checkpoint).stem
        card = model_card(name, cfg, interface, figures, run, notes or {})
        (part / 'README.md').write_text(card, encoding='utf-8')
    return figures


def trained_of(meta: Mapping[str, Any]) -> dict[str, int]:
    """How far the training of a checkpoint was, by what this says of itself."""
    found = {key: meta[key] for key in ('epoch', 'iter', 'seed') if isinstance(meta.get(key), int)}
    fingerprint = meta.get('fingerprint')
    length = fingerprint.get(LENGTH) if isinstance(fingerprint, dict) else None
    if isinstance(length, str) and length.isdecimal():
        found[LENGTH] = int(length)
    return found


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
    kinds = [kind for kind in GRAPHS if kind in formats]
    if not kinds:
        return {}, {}
    image = images.pixels[:1]
    try:
        program = trace(deployed, image.repeat(TRACED, 1, 1, 1))
    except ConfigError as error:
        return {}, dict.fromkeys(kinds, str(error))
    measured, problems = {}, {}
    for kind in kinds:
        path, (write, open_file) = folder / f'{STUDENT}.{kind}', GRAPHS[kind]
        try:
            write(program, interface, opset, path)
            asked, student = open_file(path, cpu_count()), student_of(deployed.model)
            check = compare(asked, student, images.pixels.numpy())
            if not check['largest_difference'] <= check['tolerance']:  # NaN is not, either
                raise ConfigError(
                    f"its logits differ by {check['largest_difference']:.3g} from the student's, "
                    f'{100 * check["equal_decisions"]:.2f} % of {check["images"]} decisions equal'
                )
        except ConfigError as error:
            problems[kind] = str(error)
            path.unlink(missing_ok=True)
            continue
        times = latency(partial(open_file, path), image.numpy())
        measured[kind] = dict(check=check, latency_ms=times)
    return measured, problems
