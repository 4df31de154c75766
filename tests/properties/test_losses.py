"""Losses and sampling are finite and valid whatever the logits are."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import LOSSES, TEMPERATURES, logit_batches

from mmbss.boundary.sampling import (
    BASE_SAMPLES,
    TARGET_CLASSES,
    choose_target_classes,
    correct,
    select_base_samples,
)
from mmbss.losses import TemperatureCrossEntropy
from mmbss.registry import MODELS


@given(logit_batches(), LOSSES)
def test_loss_and_gradient_are_finite(batch, config):
    student, teacher, labels = batch
    student.requires_grad_()
    loss = MODELS.build(config)(student, teacher, labels)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    assert student.grad.isfinite().all()
    assert student.grad.dtype == student.dtype


@given(logit_batches(), TEMPERATURES)
def test_softened_cross_entropy_and_its_gradient_are_finite(batch, temperature):
    student, _, labels = batch
    student.requires_grad_()
    loss = TemperatureCrossEntropy(temperature)(student, labels)
    assert loss.isfinite()
    loss.backward()
    assert student.grad.isfinite().all()


@given(
    logit_batches(),
    st.integers(1, 9),
    st.sampled_from(BASE_SAMPLES),
    st.sampled_from(TARGET_CLASSES),
)
def test_what_is_sampled_is_valid(batch, count, base_samples, target_class):
    student, teacher, labels = batch
    chosen = select_base_samples(teacher, labels, count, base_samples, student)
    candidates = correct(labels, student, teacher)
    assert candidates[chosen].all()
    assert len(chosen.unique()) == len(chosen)
    expected = int(candidates.sum())
    assert len(chosen) == (expected if base_samples == 'all' else min(expected, count))
    base = labels[chosen]
    rows, targets = choose_target_classes(teacher[chosen], base, target_class)
    assert (targets != base[rows]).all()
    assert ((targets >= 0) & (targets < teacher.shape[1])).all()
    assert torch.equal(rows, torch.arange(len(base)))
