"""A student as it is handed over: what it takes, what it gives, and the module that is exported."""

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.teachers.normalisation import check_normalisation, normalisation

#: Names of the input and the output of exported files.
PIXELS, NORMALISED, LOGITS = 'pixels', 'normalised', 'logits'


@dataclass(frozen=True)
class Interface:
    """What whoever uses an exported student has to know.

    Attributes:
        classes: Names of the classes in the order of the logits.
        channels: Order of the colour channels of the input: ``'rgb'``, ``'bgr'``, ``'gray'``, or
            ``'data'`` for images that are neither, in the order of the data set.
        height: Rows of the input.
        width: Columns of the input.
        mean: Of each channel in pixels of [0, 255]; 0 where nothing is subtracted.
        std: The same of the standard deviation.
        normalises: Whether the exported files take pixels of [0, 255] and normalise them
            themselves; otherwise their user does, with ``mean`` and ``std``.
    """

    classes: tuple[str, ...]
    channels: str
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalises: bool = True

    @property
    def input_name(self) -> str:
        """Name of the input, which tells pixels from what is normalised."""
        return PIXELS if self.normalises else NORMALISED

    def to_dict(self) -> dict[str, Any]:
        """All of it, and the names of input and output, for JSON."""
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return dict(own, input=self.input_name, output=LOGITS)


class Deployed(nn.Module):
    """A classifier behind its normalisation: float32 pixels in, logits out.

    Args:
        model: The classifier, in eval mode. It stays as it is.
        normalises: Whether to subtract the mean and divide by the standard deviation of its data
            preprocessor; else the input must be normalised already.

    Raises:
        ConfigError: If its data preprocessor does more than normalise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: ImageClassifier, normalises: bool = True) -> None:
        super().__init__()
        self.model = model
        preprocessor = model.data_preprocessor
        # also where others normalise: the plain config and the card tell them how
        check_normalisation(preprocessor, keeps_places=True)
        mean, std = normalisation(preprocessor)
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        self.normalises = normalises
        self.divisor = int(getattr(preprocessor, 'pad_size_divisor', 1))
        self.pad_value = float(getattr(preprocessor, 'pad_value', 0))

    def forward(self, images: Tensor) -> Tensor:
        """(N, K) logits of (N, C, H, W) float32 images, channels in the network's own order.

        Raises:
            ConfigError: If the head puts out anything else.
        """
        # the same operations in the same order as mmpretrain's, so the same bits
        inputs = (images - self.mean) / self.std if self.normalises else images
        if self.divisor > 1:
            height, width = images.shape[-2:]
            padding = (0, -width % self.divisor, 0, -height % self.divisor)
            inputs = F.pad(inputs, padding, value=self.pad_value)
        logits = self.model(inputs, mode='tensor')
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ConfigError(f'the {type(self.model).__name__} puts out no (N, K) logits')
        return logits

    def prepare(self, pixels: Tensor) -> Tensor:
        """What :meth:`forward` gets for pixels: they themselves, or normalised ones."""
        return pixels if self.normalises else (pixels - self.mean) / self.std
