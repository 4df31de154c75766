import math

import pytest
import torch
import torch.nn.functional as F

from mmbss.losses import TemperatureCrossEntropy


def written(logits, labels, temperature):
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        normaliser = math.log(sum(math.exp(value / temperature) for value in row))
        shares = label if isinstance(label, list) else [k == label for k in range(len(row))]
        total -= sum(
            share * (value / temperature - normaliser)
            for share, value in zip(shares, row, strict=True)
        )
    return total / len(logits)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 20.0, 100.0])
def test_is_the_written_formula(temperature):
    logits, labels = 5 * torch.randn(7, 4), torch.randint(4, (7,))
    loss = TemperatureCrossEntropy(temperature)
    expected = written(logits.double(), labels, temperature)
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)
    shares = torch.rand(7, 4).softmax(dim=1)
    expected = written(logits.double(), shares.double(), temperature)
    assert loss(logits, shares).item() == pytest.approx(expected, rel=1e-5)


def test_at_temperature_one_it_is_the_cross_entropy():
    logits, labels = torch.randn(7, 4), torch.randint(4, (7,))
    loss = TemperatureCrossEntropy(1.0, loss_weight=3.0)(logits, labels, avg_factor=14)
    assert torch.allclose(loss, 1.5 * F.cross_entropy(logits, labels))


def test_the_gradient_is_divided_by_the_temperature():
    logits, labels = torch.randn(7, 4, requires_grad=True), torch.randint(4, (7,))
    (gradient,) = torch.autograd.grad(TemperatureCrossEntropy(10.0)(logits, labels), logits)
    difference = (logits / 10).softmax(dim=1) - F.one_hot(labels, 4)
    assert torch.allclose(gradient, difference / 10 / 7, atol=1e-7)


def test_an_empty_batch_has_no_loss():
    assert TemperatureCrossEntropy(2.0)(torch.zeros(0, 4), torch.zeros(0).long()) == 0


def test_bfloat16_logits_give_a_float32_loss():
    logits, labels = torch.randn(7, 4).bfloat16(), torch.randint(4, (7,))
    loss = TemperatureCrossEntropy(20.0)(logits, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, TemperatureCrossEntropy(20.0)(logits.float(), labels))


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match='temperature must be positive'):
        TemperatureCrossEntropy(temperature)


def test_a_head_trains_with_it(make_runner, resnet_config):
    config = resnet_config()
    config['head']['loss'] = dict(type='mmbss.TemperatureCrossEntropy', temperature=20.0)
    runner = make_runner(config, epochs=1)
    runner.train()
    assert runner.model.head.loss_module.temperature == 20.0
    assert math.isfinite(runner.message_hub.get_scalar('train/loss').current())


def test_the_mean_of_one_sample_is_its_loss():
    logits, labels = torch.randn(1, 4), torch.tensor([2])
    loss = TemperatureCrossEntropy(1.0)(logits, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))
