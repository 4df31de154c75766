"""The teacher: built from a config, loaded strictly, frozen for good."""

import copy
import textwrap
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration.accelerate import accelerate, check_answers, compile_in_place
from mmbss.acceleration.recorded_pass import PassRecorder, RecordedPass
from mmbss.attacks.functional import Bounds
from mmbss.distillers.classifiers import check_single_label_logits, load_model_config
from mmbss.distillers.features import INPUT, FeatureRecorder, find_module
from mmbss.distillers.logit_cache import LogitCache
from mmbss.engine.errors import ConfigError
from mmbss.engine.files import read_checkpoint
from mmbss.registry import MODELS

Normalisation = tuple[Tensor, Tensor]


class Teacher(nn.Module):
    """A frozen classifier that answers inputs normalised for the student.

    It stays in eval mode whatever :meth:`train` is told, none of its parameters asks for a
    gradient, and copies of it are itself, so that an EMA copy of the student shares it.

    Args:
        config: A mmpretrain config (``'mmpretrain::...'`` or a path) or a model dict. A config
            of a distiller stands for its student.
        checkpoint: Path or URL of its weights; every key must match.
        student_preprocessor: Data preprocessor whose output the teacher will get. A teacher
            without one of its own is taken to be normalised like the student.
        reverse_channels: Whether the teacher wants the colour channels in the reverse order of
            the student (RGB against BGR). None works it out, and asks where that is impossible.
        fuse_bn: Fold BatchNorm into the convolutions; the first batch is checked.
        channels_last: Run in the NHWC layout.
        precision: ``'float32'``, ``'bfloat16'`` or ``'float16'``.
        winograd: On a CPU, compute 3x3 convolutions in tiles of ``'2x2'``, ``'4x2'`` or
            ``'4x4'`` outputs, see :func:`~mmbss.ops.use_winograd`.
        compile: Compile the backbone, and passes that are recorded, with ``torch.compile`` when
            they are first used.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If the checkpoint does not fit, the model is no classifier with logits, or
            the order of the channels is unclear.
    """

    scale: Tensor
    shift: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(
        self,
        config: str | dict[str, Any],
        checkpoint: str,
        student_preprocessor: nn.Module,
        reverse_channels: bool | None = None,
        fuse_bn: bool = False,
        channels_last: bool = False,
        precision: str = 'float32',
        winograd: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.cache: LogitCache | None = None  # TeacherCacheHook sets it
        model_config = load_model_config(config)
        own_preprocessor = model_config.get('data_preprocessor') is not None
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.network = MODELS.build(copy.deepcopy(model_config))
        check_single_label_logits(self.network, 'teacher')
        load_strictly(self.network, checkpoint)
        self.requires_grad_(False)
        super().train(False)
        self.channels_last = channels_last
        # the original, until the first batch has shown that the faster form answers the same
        self.unchecked: nn.Module | None = None
        if fuse_bn or channels_last or precision != 'float32' or winograd is not None:
            self.unchecked = self.network
            self.network = accelerate(self.network, fuse_bn, channels_last, precision, winograd)
        self.fuse_bn = fuse_bn
        self.recorder = FeatureRecorder(self.network, 'teacher')
        self.pass_recorder = PassRecorder(self.answer, compile)
        if compile:
            compile_in_place(self.network.backbone)

        preprocessor = self.network.data_preprocessor if own_preprocessor else student_preprocessor
        mean, std = _normalisation(preprocessor)
        student_mean, student_std = _normalisation(student_preprocessor)
        self.reverse_channels = _channels_differ(
            preprocessor, student_preprocessor, reverse_channels
        )
        if self.reverse_channels:
            student_mean, student_std = student_mean.flip(0), student_std.flip(0)
        # x_teacher = (x_student * student_std + student_mean - mean) / std
        self.register_buffer('scale', student_std / std)
        self.register_buffer('shift', (student_mean - mean) / std)
        self.register_buffer('lowest', (0.0 - mean) / std)
        self.register_buffer('highest', (255.0 - mean) / std)
        self.same_normalisation = not self.reverse_channels and bool(
            torch.equal(mean, student_mean) and torch.equal(std, student_std)
        )

    def train(self, mode: bool = True) -> 'Teacher':
        """Stay in eval mode."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Teacher':
        return self

    def watch(self, paths: Iterable[str]) -> None:
        """Have ``recorder`` hook modules of the network, see :meth:`FeatureRecorder.watch`.

        Raises:
            ValueError: If there is no such module, or it differs in the faster form.
        """
        paths = list(paths)
        for path in paths if self.fuse_bn else ():
            module = find_module(self.network, path.removesuffix(INPUT), 'teacher')
            folded = nn.Identity if path.endswith(INPUT) else nn.modules.conv._ConvNd
            if isinstance(module, folded):
                raise ConfigError(
                    f"teacher.fuse_bn may fold a BatchNorm into the teacher's {path}: name the "
                    'BatchNorm or the block around it, or set teacher.fuse_bn=False'
                )
        self.recorder.watch(paths)

    @property
    def pixel_bounds(self) -> Bounds:
        """Lowest and highest normalised input, (C, 1, 1) each: pixels 0 and 255."""
        return self.lowest, self.highest

    def from_student(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) inputs from the student's normalisation to the teacher's."""
        if self.same_normalisation:
            return inputs
        if self.reverse_channels:
            inputs = inputs.flip(1)
        return inputs * self.scale + self.shift

    def to_student(self, inputs: Tensor) -> Tensor:
        """Undo :meth:`from_student`."""
        if self.same_normalisation:
            return inputs
        inputs = (inputs - self.shift) / self.scale
        return inputs.flip(1) if self.reverse_channels else inputs

    def logits(self, inputs: Tensor) -> Tensor:
        """(N, K) logits of inputs in the teacher's own normalisation.

        Raises:
            ValueError: If the network's head puts out anything else, or a faster form of the
                network answers the first batch differently.
        """
        logits = self.answer(inputs)
        self._check_first(inputs, logits)
        return logits

    @torch.no_grad()
    def record(self, inputs: Tensor) -> RecordedPass:
        """Answer inputs in the student's normalisation, (N, C, H, W) with N at least 2.

        The gradient of the logits by inputs in the teacher's own normalisation can be taken
        later.

        Raises:
            ValueError: If the network cannot be traced; see :class:`PassRecorder`.
        """
        inputs = self.from_student(inputs)
        recorded = self.pass_recorder(inputs)
        self._check_first(inputs, recorded.logits)
        return recorded

    def answer(self, inputs: Tensor) -> Tensor:
        """:meth:`logits` without a comparison of the faster form with the original."""
        precision = next(self.network.parameters()).dtype
        images = inputs.to(precision)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        # autocast would mix its own 16 bits with those of the weights
        own_precision: AbstractContextManager = nullcontext()
        if precision != torch.float32:
            own_precision = torch.autocast(inputs.device.type, enabled=False)
        with own_precision:
            logits = self.network(images, mode='tensor')
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ConfigError(
                f"the teacher's {type(self.network.head).__name__} puts out no (N, K) logits"
            )
        return logits

    def _check_first(self, inputs: Tensor, logits: Tensor) -> None:
        if self.unchecked is not None:
            check_answers(self.unchecked, inputs, logits)
            self.unchecked = None

    @torch.no_grad()
    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> Tensor:
        """(N, K) logits of inputs in the student's normalisation, without gradient.

        Those of training samples come from the cache, if there is one.
        """
        if self.cache is not None and data_samples is not None:
            return self.cache.look_up(inputs, data_samples)
        return self.logits(self.from_student(inputs))


def load_strictly(model: nn.Module, checkpoint: str) -> None:
    """Load a checkpoint whose keys and shapes must all match.

    Args:
        model: The model to fill.
        checkpoint: Path or URL of a file with a state dict, on its own or as ``state_dict``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, keys or shapes differ, or a weight is not finite;
            names them.
    """
    if not isinstance(checkpoint, str):
        raise ConfigError(
            f'teacher.checkpoint must be the path or URL of a trained teacher, got {checkpoint!r}'
        )
    try:
        content = read_checkpoint(checkpoint)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'teacher.checkpoint: {error}; train the teacher first or correct the path'
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f'teacher.checkpoint: {error}') from error
    state = content.get('state_dict', content)
    try:
        model.load_state_dict(state, strict=True)
    except Exception as error:
        raise ConfigError(
            f'teacher.checkpoint: {checkpoint} does not fit teacher.config: '
            f'{textwrap.shorten(str(error), 600)}'
        ) from error
    broken = [key for key, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ConfigError(f'teacher.checkpoint: {checkpoint} holds NaN or infinity in {broken[0]}')


def _normalisation(preprocessor: nn.Module) -> Normalisation:
    """Mean and standard deviation, (C, 1, 1) or (1, 1, 1) in pixel units [0, 255]."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return mean.detach().float().cpu(), std.detach().float().cpu()


def _channels_differ(
    preprocessor: nn.Module, student_preprocessor: nn.Module, reverse_channels: bool | None
) -> bool:
    if reverse_channels is not None:
        return reverse_channels
    to_rgb = getattr(preprocessor, 'to_rgb', False)
    student_to_rgb = getattr(student_preprocessor, 'to_rgb', False)
    if to_rgb != student_to_rgb:
        raise ConfigError(
            f"the teacher's data preprocessor has to_rgb={to_rgb}, the student's has "
            f'to_rgb={student_to_rgb}: set teacher.reverse_channels to True if the two networks '
            'want the colour channels in opposite order, to False if not'
        )
    return False
