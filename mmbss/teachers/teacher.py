"""The teacher: a network from anywhere, frozen for good, asked about the student's images."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration import accelerate, is_altered
from mmbss.attacks.functional import Bounds
from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import leaves, structure_of, weights_digest
from mmbss.teachers.features import INPUT, FeatureRecorder, find_module
from mmbss.teachers.logit_cache import LogitCache
from mmbss.teachers.sources import Source, load_source
from mmbss.teachers.sources.ensemble import Ensemble, load
from mmbss.teachers.sources.source import are_probabilities
from mmbss.teachers.teacher_inputs import (
    height_and_width,
    input_map,
    is_of_pixels,
    listed_classes,
    order_of_channels,
    resized,
    stated_normalisation,
)


class Teacher(nn.Module):
    """A frozen classifier that answers inputs normalised for the student.

    It stays in eval mode whatever :meth:`train` is told, none of its parameters asks for a
    gradient, and copies of it are itself, so that an EMA copy of the student shares it.

    Args:
        config: A mmpretrain config (``'mmpretrain::...'`` or a path) or a model dict, of a
            distiller its student; ``'timm:NAME'``, ``'torchvision:NAME'``, ``'hf:NAME'``,
            ``'python:package.module:name'``, an ``.onnx`` file; a module or function itself; or a
            list of dicts of arguments as these, for the mean of several teachers' probabilities.
        checkpoint: Path or URL of its weights; every key must match. None where the network brings
            them.
        student_preprocessor: Data preprocessor whose output the teacher will get. A teacher
            of which no normalisation is known is taken to be normalised like the student.
        reverse_channels: Whether the teacher wants the colour channels in the reverse order of
            the student (RGB against BGR). None works it out, and asks where that is impossible.
        acceleration: Arguments of :func:`~mmbss.acceleration.accelerate`.
        arguments: Keyword arguments of what builds the network.
        mean: Of each channel, in pixels of [0, 255]. This and what follows takes the place of what
            the source of the network says, or fills in what it does not say.
        std: The same of the deviation.
        channels: The order in which it wants them, ``'rgb'`` or ``'bgr'``.
        input_size: Height and width that it wants, or one number for both. Images of another size
            are resized when it is asked; an attack and its bounds stay at the student's size.
        classes: Names of its classes in their order.

    Raises:
        MissingFileError: If the config or the checkpoint does not exist.
        ConfigError: If the checkpoint does not fit, the model is no classifier with logits, an
            argument is of no use, or the order of the channels is unclear.

    Attributes:
        num_classes: K, None where nothing says it.
        differentiable: Whether an attack can have its gradient.
        digest: Stands for its weights.
        structure: Stands for the modules of its network, '' where there are none.
    """

    network: Any

    def __init__(
        self,
        config: str | dict[str, Any] | list[dict[str, Any]] | Callable[..., Any],
        checkpoint: str | None = None,
        *,
        student_preprocessor: nn.Module,
        reverse_channels: bool | None = None,
        acceleration: dict[str, Any] | None = None,
        arguments: dict[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels: str | None = None,
        input_size: int | tuple[int, int] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.cache: LogitCache | None = None  # TeacherCacheHook sets it
        self.has_answered = False
        stated = stated_normalisation(mean, std)
        size = height_and_width(input_size)
        if isinstance(config, list):
            of_members = dict(
                checkpoint=checkpoint,
                reverse_channels=reverse_channels,
                acceleration=acceleration,
                arguments=arguments,
                mean=mean,
                channels=channels,
                input_size=input_size,
            )
            source = load_ensemble(config, student_preprocessor, of_members)
        else:
            source = load_source(config, checkpoint, arguments)
        self.ask = source.ask
        self.arguments = arguments or {}
        if stated and source.takes_bytes and not is_of_pixels(*stated):
            raise ConfigError(
                'teacher.mean and teacher.std: the teacher takes pixels of uint8: leave them out'
            )
        self.differentiable = source.differentiable
        self.num_classes = source.num_classes
        self.classes = source.classes if classes is None else listed_classes(classes)
        if classes is not None and source.num_classes not in (None, len(classes)):
            raise ConfigError(
                f'teacher.classes names {len(classes)}, but the teacher has {source.num_classes}'
            )
        self.input_size = size or source.input_size
        self.interpolation = source.interpolation
        self._freeze(source.network, source.digest, acceleration or {})
        is_reversed = order_of_channels(
            reverse_channels,
            channels or source.channels,
            source.to_rgb,
            source.mean,
            student_preprocessor,
        )
        self.input_map = input_map(source, stated, is_reversed, student_preprocessor).eval()

    def _freeze(self, network: Any, digest: str | None, acceleration: dict[str, Any]) -> None:
        """Take a network, put it into eval mode and give it a faster form."""
        self.network = network
        is_module = isinstance(network, nn.Module)
        # before it is accelerated
        is_one = is_module and not isinstance(network, Ensemble)  # whose digest holds all of it
        self.structure = structure_of(network) if is_one else ''
        self.digest = digest or weights_digest(network.state_dict())
        self.requires_grad_(False)
        super().train(False)
        self.acceleration = acceleration
        check_keys(acceleration, accelerate, 'teacher.acceleration', supplied=('network',))
        if is_module:
            self.network = accelerate(network, **acceleration)
        elif acceleration:
            raise ConfigError('teacher.acceleration: the teacher is no module: leave it out')
        self.recorder = FeatureRecorder(self.network if is_module else nn.Module(), 'teacher')

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
        if paths and not isinstance(self.network, nn.Module):
            raise ConfigError(
                f'the teacher is no module, so it has no {paths[0]!r}: leave out losses that learn '
                'from its features'
            )
        for path in paths:
            self._refuse_altered(path)
        self.recorder.watch(paths)

    def _refuse_altered(self, path: str) -> None:
        """Refuse a path to a module that differs in the faster form, of a member too."""
        if self.acceleration.get('fuse_bn'):
            module = find_module(self.network, path.removesuffix(INPUT), 'teacher')
            if is_altered(module, at_input=path.endswith(INPUT)):
                raise ConfigError(
                    f"teacher.acceleration.fuse_bn may fold a BatchNorm into the teacher's {path}: "
                    'name the BatchNorm or the block around it, or set fuse_bn=False'
                )
        for name, member in self.network.named_modules():
            within = f'{name}.network.'
            if isinstance(member, Teacher) and path.startswith(within):
                member._refuse_altered(path.removeprefix(within))

    @property
    def pixel_bounds(self) -> Bounds:
        """Lowest and highest normalised input, (C, 1, 1) each: pixels 0 and 255."""
        return self.input_map.bounds

    def from_student(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) inputs from the student's normalisation to the teacher's."""
        return self.input_map(inputs)

    def to_student(self, inputs: Tensor) -> Tensor:
        """Undo :meth:`from_student`."""
        return self.input_map.back(inputs)

    def logits(self, inputs: Tensor) -> Tensor:
        """(N, K) logits of inputs in the teacher's own normalisation, of the student's size.

        Raises:
            ConfigError: If the network puts out anything else.
        """
        images = inputs
        if self.input_size is not None:
            images = resized(images, self.input_size, self.interpolation, self.pixel_bounds)
        logits = self.ask(self.network, images.to(self._dtype))
        self._check(logits, len(inputs))
        return logits

    def _check(self, logits: Any, count: int) -> None:
        head = getattr(self.network, 'head', None)
        name = type(self.network if head is None else head).__name__
        is_matrix = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == count
        if not is_matrix or not logits.is_floating_point():
            raise ConfigError(
                f"the teacher's {name} puts out no (N, K) logits of N images, floating numbers"
            )
        # one look, since a GPU would have to wait for it
        if not self.has_answered and are_probabilities(logits):
            raise ConfigError(
                f"the teacher's {name} puts out probabilities: what goes into their softmax is "
                'needed, the logits, or their logarithm'
            )
        self.has_answered = self.has_answered or count > 0

    @property
    def facts(self) -> dict[str, str]:
        """What its logits depend on, by name; it may be computed in another way."""
        facts = dict(
            network=self.structure,
            weights=self.digest,
            normalisation=weights_digest(self.input_map.state_dict()),
        )
        # one mean and deviation for all channels do not show their order
        if self.input_map.reverse_channels:
            facts['channels'] = 'reversed'
        if self.input_size is not None:
            facts['input_size'] = f'{self.input_size}, {self.interpolation}'
        return facts

    @property
    def identity(self) -> str:
        """What its logits depend on to the last bit, as one text, by which stored ones are known.

        That of a file or a module need not show with what arguments it was called.
        """
        further = leaves(dict(arguments=self.arguments, acceleration=self.acceleration), 'teacher')
        members = self.network.members if isinstance(self.network, Ensemble) else ()
        parts = [*self.facts.items(), *sorted(further), *(each.identity for each in members)]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def _dtype(self) -> torch.dtype:
        """The type of the weights; members of an ensemble each have their own."""
        if not isinstance(self.network, nn.Module) or isinstance(self.network, Ensemble):
            return self.input_map.scale.dtype
        return next(self.network.parameters(), self.input_map.scale).dtype

    @torch.no_grad()
    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> Tensor:
        """(N, K) logits of inputs in the student's normalisation, without gradient.

        Those of training samples come from the cache, if there is one.
        """
        if self.cache is not None and data_samples is not None:
            return self.cache.look_up(inputs, data_samples)
        return self.logits(self.from_student(inputs))


def load_ensemble(
    configs: list[dict[str, Any]], student_preprocessor: nn.Module, own: dict[str, Any]
) -> Source:
    """Several teachers as one, see :mod:`mmbss.teachers.sources.ensemble`.

    Args:
        configs: Arguments of each teacher.
        student_preprocessor: That of the student of all of them.
        own: What is said of the whole, but belongs to its members.

    Raises:
        ConfigError: If there is any of it, or see there.
    """
    if given := [key for key, value in own.items() if value is not None]:
        raise ConfigError(
            f'teacher.{given[0]}: config is a list of teachers: say it of each of them instead'
        )
    for index, each in enumerate(configs):
        if isinstance(each, dict):
            check_keys(each, Teacher, f'teacher.config.{index}', supplied=('student_preprocessor',))
    return load(configs, lambda each: Teacher(**each, student_preprocessor=student_preprocessor))
