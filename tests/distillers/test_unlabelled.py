"""Images that nobody has labelled, which a student can still learn from a teacher."""

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmbss.datasets import Digits
from mmbss.engine.errors import ConfigError

TEACHER_ALONE = dict(candidates='teacher_correct', base_class='teacher', train_on='all')


@pytest.fixture
def student(resnet_config):
    config = resnet_config()
    config['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=0.0)
    return config


@pytest.fixture
def unlabelled():
    return torch.randn(8, 1, 8, 8), [DataSample() for _ in range(8)]


@pytest.mark.parametrize(
    'term',
    [
        dict(type='mmbss.KDLoss'),
        dict(type='mmbss.DISTLoss'),
        dict(type='mmbss.AttentionLoss', student='backbone.layer1', teacher='backbone.layer1'),
    ],
    ids=lambda term: term['type'],
)
def test_the_loss_is_that_of_labelled_images_whose_labels_have_no_weight(
    make_distiller, student, make_batch, term
):
    distiller = make_distiller(student, type='mmbss.Distiller', losses=dict(loss_kd=term))
    inputs, samples = make_batch(range(8))
    without, expected = (
        distiller.loss(inputs, each) for each in ([DataSample() for _ in samples], samples)
    )
    assert torch.equal(without['loss_kd'], expected['loss_kd'])
    assert without['loss_cls'] == 0
    sum(without.values()).backward()
    assert all(parameter.grad is not None for parameter in distiller.parameters())


def test_the_boundary_of_what_the_teacher_decides(
    make_distiller, student, boundary_config, unlabelled
):
    losses = make_distiller(student, boundary=boundary_config(**TEACHER_ALONE)).loss(*unlabelled)
    assert losses['bss_samples'] == 8
    assert losses['loss_bss'] > 0


def test_a_step_in_which_no_term_has_a_weight(make_distiller, student, unlabelled):
    distiller = make_distiller(student, type='mmbss.Distiller')
    distiller.terms['loss_kd'].loss_weight = 0.0
    total = sum(distiller.loss(*unlabelled).values())
    total.backward()
    assert all(not parameter.grad.any() for parameter in distiller.parameters())


def test_the_classification_loss_must_be_switched_off(make_distiller, unlabelled):
    distiller = make_distiller(type='mmbss.Distiller')
    with pytest.raises(ConfigError, match=r'no labels.*set model\.head\.loss\.loss_weight=0'):
        distiller.try_terms(*unlabelled)


@pytest.mark.parametrize('weight', [0.0, 1.0])
def test_terms_that_need_labels_are_refused(
    make_distiller, student, boundary_config, unlabelled, weight
):
    for settings in (
        dict(losses=dict(loss_dkd=dict(type='mmbss.DKDLoss', loss_weight=weight)), name='loss_dkd'),
        dict(boundary=boundary_config(loss_weight=weight), name='loss_bss'),
    ):
        name = settings.pop('name')
        distiller = make_distiller(student, type='mmbss.Distiller', **settings)
        with pytest.raises(ConfigError, match=f'losses: {name} needs labels'):
            distiller.try_terms(*unlabelled)


@pytest.mark.parametrize('lacking', [0, 3])
def test_a_batch_of_which_some_have_labels_is_refused(make_distiller, student, lacking):
    student['data_preprocessor'] = dict(num_classes=10, mean=[77.9], std=[95.9])
    distiller = make_distiller(student, type='mmbss.Distiller')
    samples = [DataSample().set_gt_label(1) for _ in range(4)]
    samples[lacking] = DataSample()
    data = dict(inputs=torch.randint(256, (4, 1, 8, 8)), data_samples=samples)
    with pytest.raises(ConfigError, match='only 3 of 4 images of a batch have labels'):
        distiller.data_preprocessor(data, training=True)
    if not lacking:  # in a test the teacher says nothing
        distiller.data_preprocessor(data, training=False)
    with pytest.raises(ConfigError, match='only 3 of 4'):
        distiller.loss(torch.randn(4, 1, 8, 8), samples)


def test_a_training_without_labels(make_runner, student, digits_teacher, boundary_config, tmp_path):
    digits = Digits('train', indices=96)
    np.savez(tmp_path / 'digits.npz', images=np.stack([info['img'] for info in digits.data_list]))
    student = dict(
        student,
        type='mmbss.Distiller',
        teacher=digits_teacher,
        losses=dict(
            loss_kd=dict(type='mmbss.KDLoss', temperature=4.0),
            loss_bss=boundary_config(**TEACHER_ALONE, share=0.2),
        ),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    runner = make_runner(
        student,
        epochs=1,
        train_dataloader=dict(
            batch_size=32,
            num_workers=0,
            dataset=dict(type='mmbss.ArrayDataset', data_file=str(tmp_path / 'digits.npz')),
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        custom_hooks=[dict(type='mmbss.TeacherAccuracyHook'), dict(type='mmbss.BSSHook')],
    )
    runner.train()
    losses = runner.message_hub.log_scalars
    assert losses['train/loss_kd'].data[0].tolist() == pytest.approx(3 * [2.2], abs=0.2)
    assert losses['train/bss_samples'].mean() == 8
    assert not losses['train/loss_cls'].data[0].any()
