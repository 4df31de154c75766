import pytest
import torch
from boundary_checks import all_attacked, check_training_step
from small_classifiers import CLASSIFIERS

from mmbss.losses import kd_loss


@pytest.fixture
def batch_norm_runs(trained_pair, digits_batch):
    """Losses and model of one step under a seed, for each way of BatchNorm, from equal weights."""
    state = {}

    def run(batch_norm, **boundary):
        distiller, _ = trained_pair(batch_norm=batch_norm, **boundary)
        if not state:
            state.update({name: value.clone() for name, value in distiller.state_dict().items()})
        distiller.load_state_dict(state)
        torch.manual_seed(5)
        return distiller.loss(*digits_batch), distiller

    return run


def statistics(model):
    """Running statistics of the student."""
    return {name: buffer.clone() for name, buffer in model.named_buffers() if 'running' in name}


def steps(model):
    (count,) = {int(b) for name, b in model.named_buffers() if 'num_batches_tracked' in name}
    return count


def test_by_default_the_statistics_see_the_boundary_samples_as_a_batch(batch_norm_runs):
    losses, distiller = batch_norm_runs('own')
    assert losses['loss_bss'] > 0
    before, _ = batch_norm_runs('own', loss=dict(type='mmbss.KDLoss', loss_weight=0.0))
    assert before['loss_bss'] == 0
    _, alone = batch_norm_runs('own', loss=dict(type='mmbss.KDLoss', loss_weight=0.0))
    assert steps(distiller) == steps(alone) + 1
    assert not any(map(torch.equal, statistics(distiller).values(), statistics(alone).values()))


def test_frozen_statistics_see_the_clean_batch_alone_and_change_no_loss(batch_norm_runs):
    expected, _ = batch_norm_runs('own')
    losses, distiller = batch_norm_runs('frozen_statistics')
    _, alone = batch_norm_runs('own', loss=dict(type='mmbss.KDLoss', loss_weight=0.0))
    assert losses['loss_bss'] > 0
    assert all(torch.equal(losses[name], expected[name]) for name in expected)
    assert steps(distiller) == steps(alone)
    assert all(map(torch.equal, statistics(distiller).values(), statistics(alone).values()))


def test_joint_samples_share_one_pass_with_the_clean_ones(batch_norm_runs, digits_batch):
    inputs, data_samples = digits_batch
    labels = torch.cat([sample.gt_label for sample in data_samples])
    _, alone = batch_norm_runs('own', loss=dict(type='mmbss.KDLoss', loss_weight=0.0))
    separate, _ = batch_norm_runs('own')
    losses, distiller = batch_norm_runs('joint')
    assert steps(distiller) == steps(alone), 'the statistics are updated once'
    assert losses['bss_samples'] == separate['bss_samples']
    assert losses['loss_cls'] != separate['loss_cls']

    torch.manual_seed(5)
    clean_logits = distiller(inputs).detach()
    found = distiller.find_boundary_samples(
        distiller.teacher, inputs, clean_logits, distiller.teacher(inputs), labels
    )
    together = distiller(torch.cat([inputs, found.inputs]))
    clean, boundary = together[:64], together[64:]
    expected = dict(
        loss_cls=torch.nn.functional.cross_entropy(clean, labels),
        loss_kd=4 * kd_loss(clean, distiller.teacher(inputs), 3.0),
        loss_bss=2 * kd_loss(boundary, found.teacher_logits, 3.0),
    )
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_the_joint_pass_leaves_nothing_behind(batch_norm_runs, digits_batch):
    losses, distiller = batch_norm_runs('joint')
    assert distiller.joined is None
    assert distiller.joined_features is None
    sum(losses[f'loss_{name}'] for name in ('cls', 'kd', 'bss')).backward()
    assert all(weight.grad.isfinite().all() for weight in distiller.parameters())
    distiller.head.loss_module = None
    with pytest.raises(TypeError):
        distiller.loss(*digits_batch)
    assert distiller.joined is None
    assert distiller.extract_feat(digits_batch[0])[0].shape[0] == 64


def test_the_joint_pass_is_not_prepared_where_the_boundary_has_no_weight(
    make_distiller, make_batch, count_calls
):
    boundary = dict(all_attacked(num_steps=2), batch_norm='joint')
    distiller = make_distiller(favoured=0, boundary=boundary)
    passes = count_calls(distiller.backbone, 'forward')
    batch = make_batch([0] * 8)
    distiller.loss(*batch)
    assert [len(inputs) for (inputs,) in passes] == [8, 16]
    passes.clear()
    distiller.boundary_loss.loss_weight = 0.0
    losses = distiller.loss(*batch)
    assert [len(inputs) for (inputs,) in passes] == [8]
    assert losses['loss_bss'] == 0


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_features_of_any_student_are_split_again(
    name, make_distiller, make_teacher, make_batch, small_colour
):
    teacher = make_teacher(small_colour, favoured=0)
    boundary = dict(all_attacked(num_steps=2), batch_norm='joint')
    distiller = make_distiller(CLASSIFIERS[name], teacher, favoured=0, boundary=boundary)
    check_training_step(distiller, make_batch([0] * 10, channels=3, size=32))


def test_feature_losses_see_the_clean_samples_of_the_joint_pass(
    make_distiller, make_batch, monkeypatch
):
    boundary = dict(all_attacked(num_steps=2), batch_norm='joint')
    layer = 'backbone.layer2'
    losses = dict(loss_at=dict(type='mmbss.AttentionLoss', student=layer, teacher=layer))
    distiller = make_distiller(favoured=0, boundary=boundary, losses=losses)
    given = []
    loss = distiller.loss_modules['loss_at']
    monkeypatch.setattr(loss, 'compare', lambda *args: given.append(args) or torch.tensor(0.0))
    inputs, samples = make_batch([0] * 10)
    distiller.loss(inputs, samples)
    (((student,), (teacher,), labels),) = given
    assert student.shape == teacher.shape
    assert len(student) == len(labels) == 10


@pytest.mark.parametrize(('count', 'expected'), [(0, 0), (1, 1), (2, 2)])
def test_few_joint_samples_are_no_trouble(make_distiller, make_batch, count, expected):
    boundary = dict(all_attacked(num_steps=2), batch_norm='joint')
    distiller = make_distiller(favoured=0, boundary=boundary)
    losses = distiller.loss(*make_batch([0] * count + [1] * (4 - count)))
    assert losses['bss_samples'] == expected
    assert (losses['loss_bss'] > 0) == (expected > 0)
    assert all(value.isfinite() for value in losses.values())


def test_images_that_are_not_finite_are_refused_before_the_joint_pass(make_distiller, make_batch):
    boundary = dict(all_attacked(num_steps=2), batch_norm='joint')
    distiller = make_distiller(favoured=0, boundary=boundary)
    inputs, samples = make_batch([0] * 4)
    inputs[1, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match='1 of 4 images hold NaN'):
        distiller.loss(inputs, samples)
