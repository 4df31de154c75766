"""What the boundary term is asked beside the published recipe, in a training step."""

import pytest
import torch
from boundary_checks import STATISTICS, all_attacked
from mmpretrain.structures import DataSample

from mmbss.engine.errors import ConfigError
from mmbss.losses import kd_loss

SEGMENT = dict(type='mmbss.SegmentAttack')
#: The teacher alone chooses, by its own decisions.
ALONE = dict(base_class='teacher', candidates='teacher_correct', attack=SEGMENT)


@pytest.fixture
def found_by(digits_batch):
    """The batch as a term gets it, what the boundary term finds there, and the losses."""

    def find(distiller, batch=digits_batch):
        term = distiller.terms['loss_bss']
        calls, find = [], term.find

        def recorded(given):
            calls.append((given, find(given)))
            return calls[-1][1]

        term.find = recorded
        losses = distiller.loss(*batch)
        ((given, found),) = calls
        return given, found, losses

    return find


@pytest.mark.parametrize('candidates', ['both_correct', 'teacher_correct'])
def test_the_clean_input_may_get_the_logits_of_the_boundary(trained_pair, found_by, candidates):
    distiller, _ = trained_pair(
        candidates=candidates, base_samples='random', student_input='base', train_on='accepted'
    )
    given, found, losses = found_by(distiller)
    assert len(found.inputs) > 1
    assert torch.equal(found.inputs, given.inputs[found.rows])
    assert (found.teacher_logits.argmax(dim=1) != found.labels).all()
    if candidates == 'both_correct':
        expected = 2 * kd_loss(distiller(found.inputs), found.teacher_logits, 3.0)
        torch.testing.assert_close(losses['loss_bss'], expected)


def test_the_boundary_sample_may_get_the_clean_logits(trained_pair, found_by):
    distiller, _ = trained_pair(teacher_answer='base')
    given, found, losses = found_by(distiller)
    assert torch.equal(found.teacher_logits, given.teacher_logits[found.rows])
    assert not torch.equal(found.inputs, given.inputs[found.rows])
    expected = 2 * kd_loss(distiller(found.inputs), found.teacher_logits, 3.0)
    torch.testing.assert_close(losses['loss_bss'], expected)


def test_boundaries_between_images_join_the_clean_batch(trained_pair, found_by):
    distiller, _ = trained_pair(**ALONE, train_on='accepted', num_base_samples=16)
    given, found, losses = found_by(distiller)
    assert losses['bss_samples'] == 16
    assert losses['bss_queries'] == 16 * 6
    assert losses['bss_steps'] == 0
    assert losses['bss_accepted'] > 0.8
    assert losses['bss_not_crossed'] == 1 - losses['bss_accepted']
    assert torch.equal(found.labels, given.teacher_logits.argmax(dim=1)[found.rows])
    teacher = distiller.teacher
    torch.testing.assert_close(teacher.logits(found.inputs), found.teacher_logits)
    together = distiller(torch.cat([given.inputs, found.inputs]))
    expected = 2 * kd_loss(together[len(given.inputs) :], found.teacher_logits, 3.0)
    torch.testing.assert_close(losses['loss_bss'], expected)


@pytest.mark.parametrize(('share', 'count'), [(0.25, 16), (1.0, 64), (0.001, 1)])
def test_a_share_of_the_batch_is_attacked(trained_pair, digits_batch, share, count):
    distiller, _ = trained_pair(**ALONE, num_base_samples=None, batch_share=share)
    assert distiller.loss(*digits_batch)['bss_samples'] == count


def test_a_share_may_be_too_small_for_batch_norm(trained_pair, digits_batch):
    distiller, _ = trained_pair(num_base_samples=None, batch_share=0.1)
    term = distiller.terms['loss_bss']
    with pytest.raises(ConfigError, match=r'batch_share=0\.1 leaves one boundary sample'):
        term.check_batch_size(14)
    term.check_batch_size(16)
    # the last batch of an epoch, which a resume may begin with
    inputs, samples = (each[:8] for each in digits_batch)
    losses = distiller.loss(inputs, samples)
    assert losses['bss_samples'] == 1
    assert losses['loss_bss'] == 0


def test_with_the_teachers_classes_labels_do_not_matter(trained_pair, digits_batch):
    distiller, _ = trained_pair(**ALONE, num_base_samples=16)
    inputs, samples = digits_batch
    other = [DataSample().set_gt_label((int(s.gt_label) + 1) % 10) for s in samples]
    soft = [DataSample().set_gt_score(torch.full((10,), 0.1)) for _ in samples]
    results = []
    for each in (samples, other, soft):
        torch.manual_seed(3)
        results.append(distiller.loss(inputs, each))
    assert results[0]['bss_samples'] == 16
    for name in ('loss_bss', 'loss_kd', *STATISTICS):
        assert results[0][name] == results[1][name] == results[2][name]
    assert results[0]['loss_cls'] != results[1]['loss_cls']


def test_the_student_is_asked_where_it_disagrees_most(trained_pair, digits_batch, count_calls):
    attack = dict(type='mmbss.ChosenMixAttack', by='disagreement', num_passes=3)
    distiller, _ = trained_pair(**dict(ALONE, attack=attack), num_base_samples=8)
    before = {name: value.clone() for name, value in distiller.named_buffers()}
    passes = count_calls(distiller.backbone, 'forward')
    losses = distiller.loss(*digits_batch)
    assert [len(inputs) for (inputs,) in passes] == [8, 8, 8, 64 + 8]
    assert losses['loss_bss'] > 0
    counts = {name: value for name, value in distiller.named_buffers() if 'num_batches' in name}
    assert all(value == before[name] + 1 for name, value in counts.items())


@pytest.mark.parametrize('teacher_says', ['logits', 'class'])
def test_decisions_are_enough_for_a_step(trained_pair, found_by, teacher_says):
    distiller, _ = trained_pair(**ALONE, teacher_says=teacher_says, train_on='accepted')
    _, found, losses = found_by(distiller)
    own = found.teacher_logits.gather(1, found.labels.unsqueeze(1))[:, 0]
    assert len(own) > 16
    assert (own == found.teacher_logits.amax(dim=1)).all() == (teacher_says == 'class')
    assert losses['loss_bss'] > 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(base_class='score'), "base_class must be 'label' or 'teacher'"),
        (dict(batch_share=0.5), 'both say how many'),
        (dict(batch_share=0.0, num_base_samples=None), 'batch_share must be above 0'),
        (dict(batch_share=0.5, num_base_samples=None, base_samples='all'), "base_samples='all'"),
        (dict(student_input='base', teacher_answer='base'), 'the boundary has no part'),
        (dict(student_input='noise'), "student_input must be 'boundary' or 'base'"),
        (dict(teacher_answer='noise'), "teacher_answer must be 'boundary' or 'base'"),
        (dict(attack=SEGMENT, target_class='probability'), 'whose class is the target'),
        (dict(teacher_says='class'), 'SegmentAttack'),
        (dict(teacher_says='class', attack=SEGMENT, teacher_answer='base'), 'knows none'),
        (dict(candidates='all', base_samples='disagreement'), "candidates='all' does not"),
    ],
)
def test_what_cannot_be_is_refused(make_distiller, changes, message):
    with pytest.raises(ValueError, match=message):
        make_distiller(boundary=dict(all_attacked(), **changes))
