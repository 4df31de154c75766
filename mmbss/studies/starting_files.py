"""What the files hold that a run starts from, as a fingerprint that is read without building it.

Its parts are divided by hyphens: the content of the teacher's weights, the models of its config
files, further files of the teacher, the weights that the student starts from, and what modules of
the user's own say. A part is empty where it is not known, and those at the end are left out, so
that older and shorter fingerprints hold; see :func:`differences_of`.
"""

import hashlib
import os.path
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmbss.engine.config_checks.rules import settings_in
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.fingerprint import file_digest
from mmbss.engine.own_code import code_digests, own_modules
from mmbss.studies.settings import digest_of
from mmbss.teachers.classifiers import load_model_config
from mmbss.teachers.sources.load import kind_of
from mmbss.teachers.sources.onnx_file import files_beside

#: Keys by which a model names files of weights: an ``init_cfg``, a classifier, a TIMMBackbone.
WEIGHTS = ('checkpoint', 'pretrained', 'checkpoint_path')

#: What the parts of a fingerprint are of.
PARTS = (
    "the teacher's checkpoint",
    "the teacher's config",
    "another file of the teacher's",
    'the weights that the student starts from',
    'a module of your own, or one that it imports',
)


def members_of(teacher: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The teachers that one of several consists of; a single one is its own member."""
    config = teacher.get('config')
    if not isinstance(config, (list, tuple)):
        yield teacher
        return
    for each in config:
        if isinstance(each, Mapping):
            yield from members_of(each)


def weights_of(teacher: Mapping[str, Any]) -> list[Path]:
    """Files with the weights of a single teacher; a folder stands for its files.

    Examples:
        >>> weights_of(dict(config='onnx:b.onnx')) == weights_of(dict(checkpoint='b.onnx'))
        True
    """
    config, checkpoint = teacher.get('config'), teacher.get('checkpoint')
    named = [] if checkpoint is None else [_path(checkpoint)]
    # an ONNX file is network and weights in one, and so are folders of timm and Hugging Face
    if isinstance(config, str) and not config.endswith('.py'):
        named.append(_path(config.split(':', 1)[-1]))
    if isinstance(config, str) and config.startswith(('hf:', 'timm:')) and named[-1].is_dir():
        named[-1:] = sorted(named[-1].iterdir())
    return named


def further_files_of(teacher: Mapping[str, Any]) -> list[Path]:
    """Files that the model, the arguments or the ONNX file of a single teacher name.

    A checkpoint takes the place of the weights that a model names.
    """
    config = teacher.get('config')
    named = _existing(value for _, value in settings_in(teacher.get('arguments') or {}))
    if isinstance(config, str) and kind_of(config)[0] == 'onnx_file':
        named += _beside(_path(kind_of(config)[1]))
    if teacher.get('checkpoint') is None:
        models = [load_model_config(config)] if isinstance(config, dict) else _models_of([teacher])
        named += [path for model in models for path in weights_in(model)]
    return named


def weights_in(model: Mapping[str, Any]) -> list[Path]:
    """Files of weights that a model's config names, as far as they are there."""
    found = settings_in(model)
    return _existing(value for path, value in found if path.rpartition('.')[2] in WEIGHTS)


def digest_of_teachers(teachers: Iterable[Mapping[str, Any]]) -> str | None:
    """Fingerprint of the files of teachers, and of the models of their config files.

    None where there are neither.
    """
    return _joined(_parts(teachers))


def digest_of_start(cfg: Mapping[str, Any]) -> str | None:
    """Fingerprint of the files that the teacher and the student of a config start from.

    None where there are none.
    """
    model = cfg.get('model') or {}
    student = {key: value for key, value in model.items() if key != 'teacher'}
    teachers = _parts([model.get('teacher') or {}])
    code = code_digests(own_modules(cfg))
    of_code = digest_of(code) if code else ''
    return _joined([*teachers, _digest_of_each(weights_in(student)), of_code])


def differences_of(one: str | None, other: str | None) -> list[str]:
    """In what two fingerprints differ, of which either may be unknown, in words.

    Parts are divided by a hyphen; what is empty, or the shorter one lacks, is unknown.

    Examples:
        >>> differences_of('a1-b2', 'a1'), differences_of('a1-b2', 'a1-c3')
        ([], ["the teacher's config"])
        >>> differences_of(None, 'a1'), differences_of('a1--d4', '-b2-e5')
        ([], ["another file of the teacher's"])
    """
    if one is None or other is None:
        return []
    parts = zip(PARTS, one.split('-'), other.split('-'), strict=False)
    return [name for name, a, b in parts if a and b and a != b]


def _parts(teachers: Iterable[Mapping[str, Any]]) -> list[str]:
    teachers = [member for teacher in teachers for member in members_of(teacher)]
    weights = [path for teacher in teachers for path in weights_of(teacher) if path.is_file()]
    content = hashlib.sha256()
    for path in weights:
        content.update(path.read_bytes())
    models = {str(number): model for number, model in enumerate(_models_of(teachers))}
    return [
        content.hexdigest()[:16] if weights else '',
        digest_of(models) if models else '',
        _digest_of_each([path for teacher in teachers for path in further_files_of(teacher)]),
    ]


def _joined(parts: Iterable[str]) -> str | None:
    return '-'.join(parts).rstrip('-') or None


def _digest_of_each(paths: list[Path]) -> str:
    return digest_of([file_digest(path) for path in paths]) if paths else ''


def _path(name: Any) -> Path:
    return Path(os.path.expanduser(str(name)))  # noqa: PTH111 (Path's own fails without a home)


def _existing(values: Iterable[Any]) -> list[Path]:
    """Those texts that name a file."""
    paths = [_path(value) for value in values if isinstance(value, str)]
    # a text may be longer than a name, which is an error for Path.is_file
    return [path for path in paths if os.path.isfile(path)]  # noqa: PTH113


def _beside(path: Path) -> list[Path]:
    """The files in which an ONNX file keeps weights; none where it cannot be read."""
    try:
        return files_beside(path.resolve()) if path.is_file() else []
    except ConfigError:  # whoever asks the teacher is told
        return []


def _models_of(teachers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The models of those single teachers that are named by a config file."""
    configs = [teacher.get('config') for teacher in teachers]
    files = [config for config in configs if isinstance(config, str) and config.endswith('.py')]
    try:
        return [_model_of(file) for file in files]
    except MissingFileError:  # nobody can say what it was
        return []


@cache
def _model_of(config: str) -> dict[str, Any]:
    return load_model_config(config)
