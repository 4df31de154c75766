"""A trained student, its teacher and test digits, with which metrics are fed batch by batch."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmbss.datasets import Digits
from mmbss.metrics import ModelMetric
from mmbss.registry import METRICS, MODELS

SIZE = 60
PREPROCESSOR = dict(
    type='mmbss.AugmentingDataPreprocessor', num_classes=10, mean=[77.9], std=[95.9]
)


@pytest.fixture(scope='session')
def num_digits():
    """How many test digits a metric is fed."""
    return SIZE


@pytest.fixture(scope='session')
def student(digits_teacher, digits_student):
    """A student that is right on most digits, in eval mode."""
    return load(digits_teacher['config'], digits_student)


@pytest.fixture(scope='session')
def teacher_as_student(digits_teacher):
    """The teacher, to be measured like a student."""
    return load(**digits_teacher)


def load(config, checkpoint):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(Config.fromfile(config).model, data_preprocessor=PREPROCESSOR))
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    return model.eval()


@pytest.fixture(scope='session')
def digits():
    """Test digits as a loader gives them, before normalisation."""
    dataset = Digits('test')
    rows = [dataset[row] for row in range(SIZE)]
    inputs = torch.stack([row['inputs'] for row in rows])
    return inputs, [row['data_samples'] for row in rows]


def feed(metric, model, digits, batch_size=25, count=SIZE):
    inputs, samples = digits
    if isinstance(metric, dict):
        metric = METRICS.build(metric)
    if isinstance(metric, ModelMetric):
        metric.attach(model, count)
    with torch.no_grad():
        for start in range(0, count, batch_size):
            part = slice(start, min(start + batch_size, count))
            batch = dict(inputs=inputs[part], data_samples=samples[part])
            predictions = model.val_step(batch)
            metric.process(batch, [sample.to_dict() for sample in predictions])
    return metric.evaluate(count)


@pytest.fixture(scope='session')
def evaluate(student, digits):
    """Feed a metric, or its config, with the digits and give its numbers."""

    def evaluate(metric, model=student, digits=digits, **options):
        return feed(metric, model, digits, **options)

    return evaluate


@pytest.fixture(scope='session')
def metric_configs(digits_teacher):
    """Configs of all metrics that ask the model, with as many samples as are given."""

    def configs(**common):
        return dict(
            similarity=dict(
                type='mmbss.BoundarySimilarity', teacher=digits_teacher, per_class=True, **common
            ),
            distance=dict(type='mmbss.BoundaryDistance', teacher=digits_teacher, **common),
            agreement=dict(type='mmbss.Agreement', teacher=digits_teacher, **common),
            boundary_agreement=dict(
                type='mmbss.Agreement',
                attack=dict(type='mmbss.BSSAttack'),
                teacher=digits_teacher,
                **common,
            ),
            visibility=dict(type='mmbss.BoundaryVisibility', teacher=digits_teacher, **common),
            transition=dict(
                type='mmbss.TransitionError', teacher=digits_teacher, num_steps=5, **common
            ),
            corruption=dict(type='mmbss.CorruptionAccuracy', **common),
            robust=dict(
                type='mmbss.RobustAccuracy',
                attacks=dict(
                    fgsm_20=dict(type='mmbss.FGSMAttack', radius=20.0),
                    pgd_20=dict(type='mmbss.PGDAttack', radius=20.0, step_size=5.0, num_steps=5),
                ),
                **common,
            ),
        )

    return configs
