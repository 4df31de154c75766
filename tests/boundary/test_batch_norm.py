import pytest
import torch
from boundary_checks import all_attacked, check_training_step
from small_classifiers import CLASSIFIERS
from torch import nn

from mmbss.distillers.iteration import ask_teacher, pass_alone
from mmbss.losses import kd_loss

#: The teacher alone chooses, so that the samples join the clean batch.
JOINT = dict(candidates='teacher_correct')


@pytest.fixture
def batch_norm_runs(trained_pair, digits_batch):
    """Losses and model of one step under a seed, from equal weights."""
    state = {}

    def run(**boundary):
        distiller, _ = trained_pair(**boundary)
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


@pytest.mark.parametrize('changes', [{}, dict(JOINT, batch_norm='own')], ids=str)
def test_the_statistics_see_the_boundary_samples_as_a_batch_of_their_own(batch_norm_runs, changes):
    losses, distiller = batch_norm_runs(**changes)
    assert losses['loss_bss'] > 0
    without, alone = batch_norm_runs(loss_weight=0.0)
    assert without['loss_bss'] == 0
    assert torch.equal(losses['loss_cls'], without['loss_cls'])
    assert steps(distiller) == steps(alone) + 1
    assert not any(map(torch.equal, statistics(distiller).values(), statistics(alone).values()))


def test_joint_samples_share_one_pass_with_the_clean_ones(batch_norm_runs, digits_batch):
    inputs, data_samples = digits_batch
    labels = torch.cat([sample.gt_label for sample in data_samples])
    without, alone = batch_norm_runs(loss_weight=0.0)
    losses, distiller = batch_norm_runs(**JOINT, train_on='all')
    assert steps(distiller) == steps(alone), 'the statistics are updated once'
    assert losses['bss_samples'] == 32
    assert losses['loss_cls'] != without['loss_cls']

    torch.manual_seed(5)
    asked = ask_teacher(distiller, inputs, data_samples, distiller.terms.active())
    found = distiller.terms['loss_bss'].find(asked)
    right = distiller.teacher(inputs).argmax(dim=1) == labels
    assert right[found.rows].all()
    together = distiller(torch.cat([inputs, found.inputs]))
    clean, boundary = together[:64], together[64:]
    expected = dict(
        loss_cls=torch.nn.functional.cross_entropy(clean, labels),
        loss_kd=4 * kd_loss(clean, distiller.teacher(inputs), 3.0),
        loss_bss=2 * kd_loss(boundary, found.teacher_logits, 3.0),
    )
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_two_boundaries_in_one_config(make_distiller, make_batch, count_calls):
    attack = dict(type='mmbss.BSSAttack', num_steps=2)
    loss = dict(type='mmbss.KDLoss')
    term = dict(type='mmbss.BoundaryLoss', attack=attack, loss=loss, train_on='all')
    losses = dict(
        loss_first=dict(term, num_base_samples=3, **JOINT),
        loss_second=dict(term, num_base_samples=5, **JOINT),
        loss_third=dict(term, num_base_samples=2),
    )
    distiller = make_distiller(type='mmbss.Distiller', losses=losses, favoured=0)
    passes = count_calls(distiller.backbone, 'forward')
    values = distiller.loss(*make_batch([0] * 8))
    assert [len(inputs) for (inputs,) in passes] == [8 + 3 + 5, 2]
    for name, count in (('first', 3), ('second', 5), ('third', 2)):
        assert values[f'{name}_samples'] == count
        assert values[f'loss_{name}'] > 0


def test_the_joint_pass_is_not_prepared_where_the_boundary_has_no_weight(
    make_distiller, make_batch, count_calls
):
    distiller = make_distiller(favoured=0, boundary=dict(all_attacked(num_steps=2), **JOINT))
    passes = count_calls(distiller.backbone, 'forward')
    batch = make_batch([0] * 8)
    distiller.loss(*batch)
    assert [len(inputs) for (inputs,) in passes] == [16]
    passes.clear()
    distiller.terms['loss_bss'].loss_weight = 0.0
    losses = distiller.loss(*batch)
    assert [len(inputs) for (inputs,) in passes] == [8]
    assert losses['loss_bss'] == 0


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_features_of_any_student_are_split_again(
    name, make_distiller, make_teacher, make_batch, resnet_config
):
    teacher = make_teacher(resnet_config(in_channels=3), favoured=0)
    boundary = dict(all_attacked(num_steps=2), **JOINT)
    distiller = make_distiller(CLASSIFIERS[name], teacher, favoured=0, boundary=boundary)
    check_training_step(distiller, make_batch([0] * 10, channels=3, size=32))


@pytest.mark.parametrize('layer', ['backbone.layer2', 'head.fc'])
def test_feature_losses_see_the_clean_samples_of_the_joint_pass(
    make_distiller, make_batch, monkeypatch, layer
):
    boundary = dict(all_attacked(num_steps=2), **JOINT)
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


@pytest.mark.parametrize('count', [0, 1, 2])
def test_few_joint_samples_are_no_trouble(make_distiller, make_batch, count):
    distiller = make_distiller(favoured=0, boundary=dict(all_attacked(num_steps=2), **JOINT))
    losses = distiller.loss(*make_batch([0] * count + [1] * (4 - count)))
    assert losses['bss_samples'] == count
    assert (losses['loss_bss'] > 0) == (count > 0)
    assert all(value.isfinite() for value in losses.values())


def test_sync_batch_norm_is_refused_where_processes_pass_boundary_samples_alone(
    make_distiller, make_batch, monkeypatch
):
    distiller = make_distiller(favoured=0, boundary=all_attacked(num_steps=1))
    distiller.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(distiller.backbone)
    inputs, _ = make_batch([0] * 4)
    monkeypatch.setattr('mmbss.distillers.iteration.get_world_size', lambda: 2)
    with pytest.raises(ValueError, match="candidates='teacher_correct'"):
        pass_alone(distiller, {}, inputs)


def test_sync_batch_norm_is_refused_in_a_head_that_boundary_samples_pass_alone(
    make_distiller, make_batch, monkeypatch
):
    distiller = make_distiller(favoured=0, boundary=dict(all_attacked(num_steps=1), **JOINT))
    distiller.head.norm = nn.SyncBatchNorm(2)
    monkeypatch.setattr('mmbss.distillers.iteration.get_world_size', lambda: 2)
    with pytest.raises(ValueError, match=r'SyncBN in the head .*sync_bn=None'):
        distiller.loss(*make_batch([0] * 4))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(batch_norm='joint'), 'candidates'),
        (dict(JOINT, base_samples='disagreement'), 'candidates'),
        (dict(batch_norm='shared'), "'own' or 'joint'"),
        (dict(candidates='some'), "'both_correct', 'teacher_correct' or 'all'"),
    ],
)
def test_what_cannot_be_is_refused(make_distiller, changes, message):
    with pytest.raises(ValueError, match=message):
        make_distiller(boundary=dict(all_attacked(), **changes))
