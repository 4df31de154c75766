"""Whether a classifier is right as often as it says (Guo et al. 2017, arXiv 1706.04599)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmbss.engine.errors import ConfigError
from mmbss.metrics.functional import expected_calibration_error
from mmbss.registry import METRICS


@METRICS.register_module()
class CalibrationError(BaseMetric):
    """Expected calibration error ``ece`` in percent; see :func:`expected_calibration_error`.

    It reads the predictions alone, so it needs neither a teacher nor a hook.

    Args:
        num_bins: Number of bins of equal width.
        **kwargs: ``prefix``, ``collect_device`` and ``collect_dir`` of mmengine's ``BaseMetric``.

    Raises:
        ConfigError: If ``num_bins`` is not positive.
    """

    default_prefix = 'calibration'

    def __init__(self, num_bins: int = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_bins < 1:
            raise ConfigError(f'CalibrationError: num_bins must be at least 1, got {num_bins}')
        self.num_bins = num_bins

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep each sample's confidence, and whether it is right."""
        for sample in data_samples:
            confidence, decision = sample['pred_score'].float().max(dim=0)
            self.results.append((float(confidence), bool(decision == sample['gt_label'])))

    def compute_metrics(self, results: list[tuple[float, bool]]) -> dict[str, float]:
        """The error over the samples of all processes."""
        confidence, correct = torch.tensor(results, dtype=torch.float64).view(-1, 2).unbind(1)
        error = expected_calibration_error(confidence, correct.bool(), self.num_bins)
        return dict(ece=100 * float(error))
