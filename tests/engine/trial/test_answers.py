"""A teacher answers the same whenever it is asked, and beside whichever other images."""

import pytest
import torch
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.answers import check_steady
from mmbss.engine.trial.training import try_training

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(3, 1, 8, 8, generator=GENERATOR)
WEIGHT = torch.randn(64, 10, generator=GENERATOR)


def answer(images):
    return images.flatten(1) @ WEIGHT.to(images)


def noisy(images):
    logits = answer(images)
    return logits + 0.2 * logits.std() * torch.randn_like(logits)


def dropping(images):
    return answer(nn.functional.dropout(images, 0.1))


def by_batch(images):
    return answer(images - images.mean(dim=0))


def coarse(images):
    """In 8 bits, whose unit is that of the batch."""
    unit = images.abs().max() / 127
    return answer((images / unit).round() * unit)


def of_bfloat16(images):
    return answer(images.bfloat16()).float()


def overflowing(images):
    return answer(images) * torch.inf


def steady(ask, images=IMAGES):
    check_steady(ask, images, ask(images))


@pytest.mark.parametrize('ask', [noisy, dropping, by_batch, nn.BatchNorm1d(64)])
def test_a_teacher_whose_answer_changes_is_refused(ask):
    network = nn.Sequential(nn.Flatten(), ask) if isinstance(ask, nn.Module) else ask
    with pytest.raises(ConfigError, match=r'^model\.teacher: .* change by up to .* eval\(\)'):
        steady(network)


@pytest.mark.parametrize('ask', [answer, coarse, of_bfloat16, overflowing])
def test_rounding_is_none_of_it(ask):
    steady(ask)
    steady(ask, IMAGES[:1])


def test_a_batch_of_one_shows_what_is_random():
    steady(by_batch, IMAGES[:1])
    with pytest.raises(ConfigError):
        steady(noisy, IMAGES[:1])


@pytest.mark.parametrize('kind', ['eval', 'train', 'noisy'])
def test_a_function_as_the_teacher_of_a_training(make_runner, build_model, resnet_config, kind):
    network = build_model(resnet_config()).train(kind == 'train')

    def teacher(images):
        logits = network(images)
        return logits + 0.3 * torch.randn_like(logits) if kind == 'noisy' else logits

    model = dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=dict(config='python:own:teacher'),
        losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmbss.teachers.sources.python_objects.find', lambda name: teacher)
        runner = make_runner(model, epochs=1)
    if kind == 'eval':
        try_training(runner)
        return
    with pytest.raises(ConfigError, match=r'^model\.teacher: its logits of one image change'):
        try_training(runner)
