import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.metrics import CorruptionAccuracy
from mmbss.metrics.corruptions import CONSTANTS, corrupt


def test_the_shares_are_those_of_corrupted_digits(evaluate, student, digits):
    metric = CorruptionAccuracy()
    metrics = evaluate(metric)
    inputs, samples = digits
    labels = torch.cat([sample.gt_label for sample in samples])
    metric.attach(student, len(labels))
    seeds = (metric.uniforms * 2**24).long()

    def share(images):
        pixels = (images * 255).round().byte()
        with torch.no_grad():
            predictions = student.val_step(dict(inputs=pixels, data_samples=samples))
        right = [each.pred_label == each.gt_label for each in predictions]
        return 100 * float(torch.cat(right).float().mean())

    images = inputs.float() / 255
    assert metrics.pop('corruption_accuracy/clean') == pytest.approx(share(images))
    mean = metrics.pop('corruption_accuracy/mean')
    assert mean == pytest.approx(sum(metrics.values()) / len(CONSTANTS))
    for kind in CONSTANTS:
        shares = [share(corrupt(images, kind, severity, seeds)) for severity in range(1, 6)]
        assert metrics[f'corruption_accuracy/{kind}'] == pytest.approx(sum(shares) / 5)
    assert len(set(metrics.values())) > 1


def test_the_noise_is_that_of_its_own_seed(evaluate):
    with torch.random.fork_rng():
        first = evaluate(CorruptionAccuracy())
        torch.manual_seed(1)
        assert evaluate(CorruptionAccuracy(), batch_size=7) == pytest.approx(first)


def test_without_a_sample_nothing_is_said():
    metric = CorruptionAccuracy()
    assert metric.compute_metrics([None]) == {}


def test_what_cannot_be_corrupted_is_refused(student):
    metric = CorruptionAccuracy()
    metric.attach(student, 1)
    with pytest.raises(ConfigError, match='three channels'):
        metric.measure(torch.zeros(1, 2, 8, 8), torch.zeros(1).long(), torch.zeros(1))
