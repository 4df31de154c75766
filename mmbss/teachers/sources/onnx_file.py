"""Teachers in ONNX files: asked through onnxruntime on the CPU, without a gradient."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError, MissingFileError, one_line
from mmbss.engine.extras import named_extra
from mmbss.teachers.sources.source import Source, are_probabilities

DTYPES = {
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(uint8)': np.uint8,
}
#: What a file of ours says, each a list.
KINDS = dict(mean=float, std=float, classes=str)
OUTPUTS = ('tensor(float)', 'tensor(float16)', 'tensor(double)')


class OnnxNetwork:
    """A function from images to logits that a file holds.

    Args:
        path: Of the file.
        output: Name of its output with logits; None: the only one.
        probabilities: Whether it puts out probabilities, whose logarithm is taken. Rows that are
            such are refused otherwise.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If it cannot be read, or is no function from images (N, C, H, W) of
            float32, float16 or uint8 to (N, K) floats.
    """

    def __init__(
        self, path: str | Path, output: str | None = None, probabilities: bool = False
    ) -> None:
        self.path = Path(path).expanduser().resolve()
        self.probabilities = probabilities
        if not self.path.is_file():
            raise MissingFileError(f'teacher.config: no file {str(path)!r}')
        self.session = start_session(self.path)
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1:
            raise ConfigError(
                f'teacher.config: {path} has {len(inputs)} inputs '
                f'({", ".join(each.name for each in inputs)}), a teacher one: the images'
            )
        names = [each.name for each in outputs]
        if output is None and len(names) > 1:
            raise ConfigError(
                f'teacher.config: {path} has {len(names)} outputs: say which are the logits, '
                f'teacher.arguments.output={" or ".join(map(repr, names))}'
            )
        if output is not None and output not in names:
            raise ConfigError(f'teacher.arguments.output={output!r}: {path} has {", ".join(names)}')
        self.input: str = inputs[0].name
        self.output: str = output or names[0]
        shape, kind = inputs[0].shape, inputs[0].type
        if kind not in DTYPES:
            raise ConfigError(
                f'teacher.config: {path} takes {kind}, a teacher one of {", ".join(DTYPES)}'
            )
        self.dtype = DTYPES[kind]
        if len(shape) != 4 or (shape[1] not in (1, 3) and shape[3] in (1, 3)):
            raise ConfigError(
                f'teacher.config: {path} takes images of shape {shape}, a teacher (N, C, H, W): '
                'put a transposition into the file'
            )
        # of what is not fixed there are names, or nothing
        fixed = [size if isinstance(size, int) and size > 0 else None for size in shape]
        self.batch_size, self.channels, height, width = fixed
        self.input_size = None if height is None or width is None else (height, width)
        result = outputs[names.index(self.output)]
        of_output = result.shape
        self._check_logits(of_output, path)
        if result.type not in OUTPUTS:
            raise ConfigError(
                f'teacher.config: {path} puts out {result.type} as {self.output!r}, but logits are '
                f'one of {", ".join(OUTPUTS)}'
            )
        last = of_output[-1] if of_output else None
        self.num_classes = last if isinstance(last, int) and last > 0 else None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, K) float32 logits of (N, C, H, W) images, without a gradient.

        A file for uint8 gets the nearest pixels.

        Raises:
            ConfigError: If the file puts out anything else.
        """
        values = images.detach().cpu().float().numpy()
        if self.dtype == np.uint8:
            values = values.round().clip(0, 255)
        values = values.astype(self.dtype)
        count = len(values)
        # a file for a fixed number gets as many: the last batch is filled up, and cut afterwards
        size = self.batch_size or max(count, 1)
        filled = max(-(-count // size), 1) * size
        values = np.concatenate([values, np.zeros((filled - count, *values.shape[1:]), self.dtype)])
        parts = [self._run(values[start : start + size]) for start in range(0, filled, size)]
        logits = torch.from_numpy(np.concatenate(parts)[:count]).to(images.device)
        return self._as_logits(logits)

    def _run(self, values: np.ndarray) -> np.ndarray:
        try:
            (rows,) = self.session.run([self.output], {self.input: values})
        except Exception as error:  # of another size, or with other channels
            raise ConfigError(
                f'{self.path} does not take images of {values.shape}: {one_line(error)}'
            ) from error
        self._check_logits(rows.shape, self.path)
        if len(rows) != len(values):
            raise ConfigError(f'{self.path} gives {len(rows)} rows for {len(values)} images')
        return rows.astype(np.float32)

    def _check_logits(self, shape: Any, path: str | Path) -> None:
        if len(shape) != 2:
            raise ConfigError(
                f'teacher.config: {path} puts out {list(shape)} as {self.output!r}, but logits are '
                '(N, K)'
            )

    def _as_logits(self, rows: Tensor) -> Tensor:
        seem = are_probabilities(rows)
        if seem and not self.probabilities:
            raise ConfigError(
                f'teacher.config: {self.path} puts out probabilities: set '
                'teacher.arguments.probabilities=True, and their logarithm stands for logits'
            )
        if not self.probabilities:
            return rows
        # of many classes in 8 bits the sum may be any
        if not bool(((rows >= 0) & (rows <= 1)).all()):
            raise ConfigError(
                f'teacher.arguments.probabilities=True, but rows of {self.path} are none'
            )
        # what a softmax has rounded to 0 is as small as float32 allows
        return rows.clamp_min(torch.finfo(rows.dtype).tiny).log()


def start_session(path: Path) -> Any:
    """A session of onnxruntime on the CPU, with as many threads as torch has.

    Raises:
        ConfigError: If the file cannot be read.
    """
    with named_extra():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # between two calls the student has the cores
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3  # errors alone
    try:
        return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime has a class for each, all of them bare
        raise ConfigError(f'teacher.config: cannot read {path}: {one_line(error)}') from error


def load(name: str, checkpoint: str | None, arguments: dict[str, Any]) -> Source:
    """Open an ONNX file.

    A file that mmbss has exported says itself how its images are normalised, in which order their
    channels are, and the classes; of any other the teacher's keys do. Pixels themselves are
    ``mean=[0, 0, 0], std=[1, 1, 1]``, which a file for uint8 takes.

    Args:
        name: Path of the file.
        checkpoint: Must be None: the file holds the weights.
        arguments: ``output`` and ``probabilities``, see :class:`OnnxNetwork`.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file is no such network, or there are other arguments.
    """
    if checkpoint is not None:
        raise ConfigError(
            f'teacher.checkpoint: {name} holds its weights itself: leave the checkpoint out'
        )
    check_keys(arguments, OnnxNetwork, 'teacher.arguments of an ONNX file', supplied=('path',))
    network = OnnxNetwork(name, **arguments)
    said = _metadata(network)
    if network.dtype == np.uint8:
        said.update(_pixels(network.channels or 1))
    classes = said.get('classes')
    return Source(
        network,
        num_classes=network.num_classes,
        mean=said.get('mean'),
        std=said.get('std'),
        channels=said.get('channels'),
        input_size=network.input_size,
        takes_bytes=network.dtype == np.uint8,
        classes=None if classes is None else tuple(classes),
        differentiable=False,
        digest=_digest(network.path),
    )


def _metadata(network: OnnxNetwork) -> dict[str, Any]:
    """What a file that mmbss has exported says of its images and classes."""
    texts = network.session.get_modelmeta().custom_metadata_map
    if 'mmbss' not in texts:  # somebody else's mean may be in other units
        return {}
    try:
        said = {key: json.loads(texts[key]) for key in ('mean', 'std', 'classes', 'normalises')}
        said.update((key, [*map(kind, said[key])]) for key, kind in KINDS.items())
        if said.pop('normalises'):
            said.update(_pixels(len(said['mean'])))
        if texts['channels'] in ('rgb', 'bgr'):
            said['channels'] = texts['channels']
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f'teacher.config: what {network.path} says of its images is damaged '
            f'({one_line(error)}): export it again'
        ) from error
    return said


def _pixels(channels: int) -> dict[str, Any]:
    """Normalisation of images that are pixels of [0, 255] themselves."""
    return dict(mean=channels * [0.0], std=channels * [1.0])


def _digest(path: Path) -> str:
    """Of a file, and of those beside it."""
    digest = hashlib.sha256()
    for file in (path, *files_beside(path)):
        with file.open('rb') as content:
            digest.update(hashlib.file_digest(content, 'sha256').digest())
    return digest.hexdigest()[:16]


def files_beside(path: Path) -> list[Path]:
    """The files in which a large one keeps its weights.

    Args:
        path: Of the ONNX file, without symbolic links.

    Raises:
        ConfigError: If it is no ONNX file, or names one that is not beside it.
    """
    with named_extra():
        import onnx
    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except Exception as error:  # protobuf's own, of which onnx says nothing
        raise ConfigError(f'teacher.config: cannot read {path}: {one_line(error)}') from error
    beside = {
        entry.value
        for tensor in tensors
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == 'location'
    }
    files = [path.parent / name for name in sorted(beside)]
    for file in files:
        # onnxruntime has read them, but for weights that its graph does not use
        if not file.is_file() or path.parent not in file.resolve().parents:
            raise ConfigError(f'teacher.config: {path} has weights in {file}, no file beside it')
    return files
