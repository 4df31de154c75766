import pytest
import torch

from mmbss.engine.errors import ConfigError


def test_configs_that_mix_labels_are_refused(make_distiller, resnet_config):
    student = resnet_config(
        data_preprocessor=dict(num_classes=10),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    with pytest.raises(ValueError, match=r'remove train_cfg\.augments'):
        make_distiller(student)


@pytest.mark.parametrize('score', [10 * [0.1], [1.0, 1.0] + 8 * [0.0]])
def test_what_is_not_one_hard_label_a_sample_is_refused(make_distiller, make_batch, score):
    distiller = make_distiller()
    inputs, samples = make_batch([0] * 4)
    for sample in samples:
        sample.set_gt_score(torch.tensor(score))
    with pytest.raises(ValueError, match='one hard label a sample'):
        distiller.loss(inputs, samples)


def test_a_term_of_ones_own_gets_the_hard_labels_that_it_needs(make_distiller, make_batch):
    distiller = make_distiller()
    distiller.terms['loss_kd'].needs_hard_labels = True
    distiller.terms['loss_bss'].loss_weight = 0.0
    inputs, samples = make_batch([0] * 4)
    distiller.loss(inputs, samples)
    for sample in samples:
        sample.set_gt_score(torch.full((10,), 0.1))
    with pytest.raises(ConfigError, match='loss_kd needs one hard label a sample'):
        distiller.loss(inputs, samples)


def test_labels_of_two_kinds_in_a_batch_are_refused(make_distiller, make_batch):
    inputs, samples = make_batch([0] * 4)
    samples[2].set_gt_score(torch.full((10,), 0.1))
    with pytest.raises(ConfigError, match='1 of 4 images of a batch have a gt_score'):
        make_distiller().loss(inputs, samples)


def test_a_name_with_a_dot_is_refused(make_distiller):
    with pytest.raises(ConfigError, match=r"'loss_a\.b' must"):
        make_distiller(losses={'loss_a.b': dict(type='mmbss.KDLoss')})


def test_one_hot_scores_are_hard_labels(make_distiller, make_batch):
    distiller = make_distiller(favoured=3)
    inputs, samples = make_batch([0] * 4)
    for sample in samples:
        sample.set_gt_score(torch.eye(10)[3])
    assert distiller.loss(inputs, samples)['bss_samples'] == 4


@pytest.mark.parametrize(
    ('changes', 'name'),
    [
        (dict(num_base_sample=4), 'num_base_sample'),
        (dict(target_clas='all'), 'target_clas'),
        (dict(attack=dict(type='mmbss.BSSAttack', steps=4)), 'steps'),
        (dict(loss=dict(type='mmbss.KDLoss', temprature=4)), 'temprature'),
    ],
)
def test_misspelt_keys_are_named(make_distiller, boundary_config, changes, name):
    message = f"has no key '{name}', did you mean '.*{name[:4]}"
    with pytest.raises(ValueError, match=message):
        make_distiller(boundary=boundary_config(**changes))


def test_a_loss_on_labels_is_refused_in_a_boundary(make_distiller, boundary_config):
    boundary = boundary_config(loss=dict(type='mmpretrain.CrossEntropyLoss'))
    with pytest.raises(ValueError, match='is no loss on logits'):
        make_distiller(boundary=boundary)


def test_all_that_a_boundary_lacks_is_named(make_distiller):
    with pytest.raises(ValueError, match="lacks 'attack', 'loss'"):
        make_distiller(boundary={})


def test_label_beyond_the_classes_is_refused_with_the_key_to_set(make_distiller, make_batch):
    distiller = make_distiller(favoured=0)
    for label in (10, -1):
        with pytest.raises(ValueError, match=r'beyond the 10 classes .* set head.num_classes'):
            distiller.loss(*make_batch([0, label]))
