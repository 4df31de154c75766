import pytest
import torch

from mmbss.metrics import CalibrationError
from mmbss.metrics.functional import expected_calibration_error, fit_temperature


def test_the_error_is_that_of_the_predictions(evaluate, student, digits):
    metrics = evaluate(CalibrationError())
    inputs, samples = digits
    with torch.no_grad():
        predictions = student.val_step(dict(inputs=inputs, data_samples=samples))
    confidence = torch.tensor([float(each.pred_score.max()) for each in predictions])
    correct = torch.tensor([bool(each.pred_label == each.gt_label) for each in predictions])
    expected = expected_calibration_error(confidence, correct)
    assert expected > 0.01
    assert metrics['calibration/ece'] == pytest.approx(100 * float(expected), rel=1e-4)


def predictions(logits, labels):
    pairs = zip(logits.softmax(dim=1), labels.view(-1, 1), strict=True)
    return [dict(pred_score=score, gt_label=label) for score, label in pairs]


def test_a_classifier_that_is_too_sure_is_scaled():
    right = 2 * torch.randn(4000, 5)
    labels = torch.multinomial(right.softmax(dim=1), 1).squeeze(1)
    metric = CalibrationError()
    metric.process(None, predictions(3 * right, labels))
    metrics = metric.evaluate(4000)
    assert metrics['calibration/temperature'] == pytest.approx(3, rel=0.1)
    assert metrics['calibration/ece_scaled'] < 4 < 12 < metrics['calibration/ece']


def test_no_sample_has_a_say_in_its_own_temperature():
    logits, labels = 3 * torch.randn(40, 5), torch.randint(5, (40,))
    metric = CalibrationError()
    metric.process(None, predictions(logits, labels))
    metrics = metric.evaluate(40)
    halves = [torch.arange(start, 40, 2) for start in (0, 1)]
    fitted = [fit_temperature(logits[rows].double(), labels[rows]) for rows in halves]
    scaled = torch.empty(40, 5)
    for rows, temperature in zip(halves, fitted[::-1], strict=True):
        scaled[rows] = (logits[rows] / temperature).softmax(dim=1)
    confidence, decision = scaled.max(dim=1)
    expected = expected_calibration_error(confidence, decision == labels)
    assert metrics['calibration/ece_scaled'] == pytest.approx(100 * float(expected), rel=1e-3)
    assert metrics['calibration/temperature'] == pytest.approx(sum(fitted) / 2, rel=1e-3)


def test_one_sample_and_a_probability_of_0_are_defined():
    metric = CalibrationError()
    metric.process(None, predictions(torch.tensor([[0.0, 500.0]]), torch.tensor([0])))
    metrics = metric.evaluate(1)
    assert metrics['calibration/ece'] == metrics['calibration/ece_scaled'] == 100


def test_it_does_not_depend_on_the_batch_size(evaluate):
    results = [evaluate(CalibrationError(), batch_size=size) for size in (1, 60)]
    assert results[0] == pytest.approx(results[1], rel=1e-4)
