"""The teacher: built from a config, loaded strictly, frozen for good."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration import accelerate, is_altered
from mmbss.attacks.functional import Bounds
from mmbss.distillers.classifiers import check_single_label_logits, load_model_config
from mmbss.distillers.features import INPUT, FeatureRecorder, find_module
from mmbss.distillers.logit_cache import LogitCache
from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.files import read_checkpoint
from mmbss.engine.fingerprint import weights_digest
from mmbss.engine.finite import non_finite
from mmbss.engine.models import load_strictly
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
        acceleration: Arguments of :func:`~mmbss.acceleration.accelerate`.

    Raises:
        MissingFileError: If the config or the checkpoint does not exist.
        ConfigError: If the checkpoint does not fit, the model is no classifier with logits, or
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
        acceleration: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.cache: LogitCache | None = None  # TeacherCacheHook sets it
        model_config = load_model_config(config)
        own_preprocessor = model_config.get('data_preprocessor') is not None
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.network = MODELS.build(copy.deepcopy(model_config))
        check_single_label_logits(self.network, 'teacher')
        self.classes = load_weights(self.network, checkpoint)
        self.digest = weights_digest(self.network.state_dict())  # before it is accelerated
        self.requires_grad_(False)
        super().train(False)
        self.acceleration = acceleration or {}
        check_keys(self.acceleration, accelerate, 'teacher.acceleration', supplied=('network',))
        self.network = accelerate(self.network, **self.acceleration)
        self.recorder = FeatureRecorder(self.network, 'teacher')

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
            ConfigError: If there is no such module, or it differs in the faster form.
        """
        paths = list(paths)
        for path in paths if self.acceleration.get('fuse_bn') else ():
            module = find_module(self.network, path.removesuffix(INPUT), 'teacher')
            if is_altered(module, at_input=path.endswith(INPUT)):
                raise ConfigError(
                    f"teacher.acceleration.fuse_bn may fold a BatchNorm into the teacher's {path}: "
                    'name the BatchNorm or the block around it, or set fuse_bn=False'
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
            ConfigError: If the network's head puts out anything else.
        """
        logits = self.network(inputs.to(next(self.network.parameters()).dtype), mode='tensor')
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ConfigError(
                f"the teacher's {type(self.network.head).__name__} puts out no (N, K) logits"
            )
        return logits

    @torch.no_grad()
    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> Tensor:
        """(N, K) logits of inputs in the student's normalisation, without gradient.

        Those of training samples come from the cache, if there is one.
        """
        if self.cache is not None and data_samples is not None:
            return self.cache.look_up(inputs, data_samples)
        return self.logits(self.from_student(inputs))


def load_weights(model: nn.Module, checkpoint: str) -> Any:
    """Load a checkpoint whose keys and shapes must all match.

    Args:
        model: The model to fill.
        checkpoint: Path or URL of a file with a state dict, on its own or as ``state_dict``.

    Returns:
        Names of the classes that the checkpoint was trained on, None where it does not say them.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file cannot be read, keys or shapes differ, or a weight is not finite;
            names them.
    """
    if not isinstance(checkpoint, str):
        raise ConfigError(
            f'teacher.checkpoint must be the path or URL of a trained teacher, got {checkpoint!r}'
        )
    try:
        content = read_checkpoint(checkpoint)
    except FileNotFoundError as error:
        raise MissingFileError(
            f'teacher.checkpoint: {error}; train the teacher first or correct the path'
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f'teacher.checkpoint: {error}') from error
    state = content.get('state_dict', content)
    load_strictly(model, state, f'teacher.checkpoint: {checkpoint} does not fit teacher.config')
    if broken := non_finite(model.state_dict()):
        raise ConfigError(f'teacher.checkpoint: {checkpoint} holds NaN or infinity in {broken[0]}')
    meta = content.get('meta')
    of_data = meta.get('dataset_meta') if isinstance(meta, dict) else None
    return of_data.get('classes') if isinstance(of_data, dict) else None


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
