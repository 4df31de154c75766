"""A student as it is handed over: what it takes, what it gives, and the module that is exported."""

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.teachers.normalisation import check_normalisation, normalisation

#: Names of the input and the output of exported files.
PIXELS, LOGITS = 'pixels', 'logits'


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
    """

    classes: tuple[str, ...]
    channels: str
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, and the names of input and output, for JSON.

        ``normalises`` tells what reads it that ``mean`` and ``std`` are not to be applied again.
        """
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return dict(own, normalises=True, input=PIXELS, output=LOGITS)


class Deployed(nn.Module):
    """A classifier behind its normalisation: float32 pixels in, logits out.

    Args:
        model: The classifier, in eval mode. It stays as it is.

    Raises:
        ConfigError: If its data preprocessor does more than normalise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.model = model
        preprocessor = model.data_preprocessor
        check_normalisation(preprocessor, keeps_places=True)
        mean, std = normalisation(preprocessor)
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        self.divisor = int(getattr(preprocessor, 'pad_size_divisor', 1))
        self.pad_value = float(getattr(preprocessor, 'pad_value', 0))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, K) logits of (N, C, H, W) float32 pixels, channels in the network's own order.

        Raises:
            ConfigError: If the head puts out anything else.
        """
        # the same operations in the same order as mmpretrain's, so the same bits
        inputs = (pixels - self.mean) / self.std
        if self.divisor > 1:
            height, width = pixels.shape[-2:]
            padding = (0, -width % self.divisor, 0, -height % self.divisor)
            inputs = F.pad(inputs, padding, value=self.pad_value)
        logits = self.model(inputs, mode='tensor')
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ConfigError(f'the {type(self.model).__name__} puts out no (N, K) logits')
        return logits
