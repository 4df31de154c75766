"""Whether a classifier is right as often as it says (Guo et al. 2017, arXiv 1706.04599)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmbss.metrics.functional import expected_calibration_error, fit_temperature
from mmbss.registry import METRICS


@METRICS.register_module()
class CalibrationError(BaseMetric):
    """Expected calibration error ``ece`` in percent; see :func:`expected_calibration_error`.

    ``ece_scaled`` is the error after temperature scaling, ``softmax(log p / T)``, on the same
    samples. No sample has a say in its own T: the one that fits the samples at even places of the
    dataset best (:func:`fit_temperature`) scales those at odd places, and the other way round.
    ``temperature`` is the mean of the two, above 1 where the classifier is too sure.

    It reads the predictions alone, so it needs neither a teacher nor a hook.

    Args:
        **kwargs: ``prefix``, ``collect_device`` and ``collect_dir`` of mmengine's ``BaseMetric``.
    """

    default_prefix = 'calibration'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep each sample's probabilities and label."""
        for sample in data_samples:
            self.results.append((sample['pred_score'].float().cpu(), int(sample['gt_label'])))

    def compute_metrics(self, results: list[tuple[Tensor, int]]) -> dict[str, float]:
        """The errors over the samples of all processes, which are in the dataset's order."""
        if not results:
            return {}
        scores = torch.stack([score for score, _ in results]).double()
        labels = torch.tensor([label for _, label in results])
        # of a probability that rounds to 0 there is no logarithm
        logits = scores.clamp(min=torch.finfo(torch.float32).tiny).log()
        even = torch.arange(len(labels)) % 2 == 0
        temperatures = [fit_temperature(logits[half], labels[half]) for half in (even, ~even)]
        divisors = torch.where(even, temperatures[1], temperatures[0]).unsqueeze(1)
        return dict(
            ece=error_in_percent(scores, labels),
            ece_scaled=error_in_percent((logits / divisors).softmax(dim=1), labels),
            temperature=sum(temperatures) / 2,
        )


def error_in_percent(scores: Tensor, labels: Tensor) -> float:
    """Of (N, K) probabilities and (N,) int64 labels, in 15 bins."""
    confidence, decision = scores.max(dim=1)
    return 100 * float(expected_calibration_error(confidence, decision == labels).detach())
