"""Accuracy on images that are corrupted as images commonly are."""

import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.metrics.corruptions import CONSTANTS, corrupt, round_to_pixels
from mmbss.metrics.model_metric import ModelMetric
from mmbss.registry import METRICS
from mmbss.teachers.normalisation import pixel_bounds

#: Each uniform number is one of so many, and so is the seed of an image's noise.
NUM_SEEDS = 2**24


@METRICS.register_module()
class CorruptionAccuracy(ModelMetric):
    """Accuracy under noise, blur, low contrast, brightness and JPEG compression, in percent.

    Kinds and severities of CIFAR-10-C (Hendrycks and Dietterich, ICLR 2019), computed here from
    the images that are tested, see :mod:`mmbss.metrics.corruptions`; so the figures are close to,
    but not those of, the published files, and there are 5 kinds of the 19. In the result are
    ``clean``, each kind, which is the mean over its severities, and ``mean``, over the kinds.
    Without a sample all are left out.

    Images are taken back to the pixels that they had before they were normalised, and have to
    have one or three channels; three are read as RGB, which matters to JPEG alone.

    Args:
        **kwargs: ``num_samples``, ``seed``, also of the noise, and other arguments of
            :class:`ModelMetric`.

    Raises:
        ConfigError: During evaluation, if the images are neither grey nor have three channels, or
            the model's data preprocessor does more than normalise.
    """

    default_prefix = 'corruption_accuracy'
    in_pixels = True
    fields = ('clean', *CONSTANTS)

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`; about all samples."""
        assert self.model is not None
        if inputs.shape[1] not in (1, 3):
            raise ConfigError(
                'CorruptionAccuracy: images must be grey or have three channels, got '
                f'{inputs.shape[1]}'
            )
        lowest, highest = pixel_bounds(self.model.data_preprocessor, inputs.device)
        images = round_to_pixels((inputs - lowest) / (highest - lowest))
        seeds = (uniforms * NUM_SEEDS).long()

        def right(images: Tensor) -> Tensor:
            logits = self.logits(images * (highest - lowest) + lowest)
            return (logits.argmax(dim=1) == labels).float()

        values = dict(clean=right(images))
        for kind, constants in CONSTANTS.items():
            by_severity = [
                right(corrupt(images, kind, severity, seeds))
                for severity in range(1, len(constants) + 1)
            ]
            values[kind] = torch.stack(by_severity).mean(dim=0)
        return torch.ones_like(labels, dtype=torch.bool), values

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        if not len(values['clean']):
            return {}
        shares = {name: 100 * float(value.mean()) for name, value in values.items()}
        return dict(shares, mean=sum(shares[kind] for kind in CONSTANTS) / len(CONSTANTS))
