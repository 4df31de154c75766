"""What the files of a teacher hold, as a fingerprint that is read without building it."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmbss.engine.errors import MissingFileError
from mmbss.report.settings import digest_of
from mmbss.teachers.classifiers import load_model_config


def weights_of(teacher: Mapping[str, Any]) -> list[Path]:
    """Files with the weights of a teacher, of several those of each; a folder stands for its files.

    Examples:
        >>> names = dict(config=[dict(checkpoint='a.pth'), dict(config='onnx:b.onnx')])
        >>> [str(path) for path in weights_of(names)]
        ['a.pth', 'b.onnx']
    """
    config, checkpoint = teacher.get('config'), teacher.get('checkpoint')
    if isinstance(config, (list, tuple)):
        return [path for each in config if isinstance(each, Mapping) for path in weights_of(each)]
    named = [] if checkpoint is None else [Path(str(checkpoint))]
    # an ONNX file is network and weights in one, and so are folders of timm and Hugging Face
    if isinstance(config, str) and not config.endswith('.py'):
        named.append(Path(config.split(':', 1)[-1]))
    if isinstance(config, str) and config.startswith(('hf:', 'timm:')) and named[-1].is_dir():
        named[-1:] = sorted(named[-1].iterdir())
    return named


def configs_of(teacher: Mapping[str, Any]) -> list[str]:
    """Config files of a teacher, of several those of each."""
    config = teacher.get('config')
    if isinstance(config, (list, tuple)):
        return [name for each in config if isinstance(each, Mapping) for name in configs_of(each)]
    return [config] if isinstance(config, str) and config.endswith('.py') else []


def digest_of_teachers(teachers: Iterable[Mapping[str, Any]]) -> str | None:
    """Fingerprint of the files of the weights of teachers, and of the models of their config files.

    None where there are no weights.
    """
    teachers = list(teachers)
    paths = [path for teacher in teachers for path in weights_of(teacher)]
    contents = [path.read_bytes() for path in paths if path.is_file()]
    if not contents:
        return None
    weights = hashlib.sha256(b''.join(contents)).hexdigest()[:16]
    configs = [name for teacher in teachers for name in configs_of(teacher)]
    try:
        models = {str(number): _model_of(name) for number, name in enumerate(configs)}
    except MissingFileError:  # nobody can say what it was
        return weights
    return f'{weights}-{digest_of(models)}' if models else weights


@cache
def _model_of(config: str) -> dict[str, Any]:
    return load_model_config(config)
