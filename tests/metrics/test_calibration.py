import pytest
import torch

from mmbss.metrics import CalibrationError
from mmbss.metrics.functional import expected_calibration_error


@pytest.mark.parametrize('num_bins', [3, 15])
def test_the_error_is_that_of_the_predictions(num_bins, evaluate, student, digits):
    metrics = evaluate(CalibrationError(num_bins=num_bins))
    inputs, samples = digits
    with torch.no_grad():
        predictions = student.val_step(dict(inputs=inputs, data_samples=samples))
    confidence = torch.tensor([float(each.pred_score.max()) for each in predictions])
    correct = torch.tensor([bool(each.pred_label == each.gt_label) for each in predictions])
    expected = expected_calibration_error(confidence, correct, num_bins)
    assert expected > 0.01
    assert metrics == {'calibration/ece': pytest.approx(100 * float(expected), rel=1e-4)}


def test_it_does_not_depend_on_the_batch_size(evaluate):
    results = [evaluate(CalibrationError(), batch_size=size) for size in (1, 60)]
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_without_a_bin_there_is_no_error():
    with pytest.raises(ValueError, match='num_bins must be at least 1'):
        CalibrationError(num_bins=0)
