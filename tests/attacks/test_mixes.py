import pytest
import torch

from mmbss.attacks import ChosenMixAttack, Partners, RandomMixAttack
from mmbss.attacks.mixes import divergence, entropy
from mmbss.engine.errors import ConfigError


def line(count):
    """From 0 to 1 in two classes whose boundary is at 0.3."""
    base = torch.zeros(count, dtype=torch.int64)
    return torch.zeros(count, 1), base, base + 1


def model(points):
    return torch.cat([0.3 - points, points - 0.3], dim=1) * 10


def partners(samples, student=None):
    return Partners(torch.ones_like(samples), model(samples), student)


def test_random_mixes_are_anywhere_on_the_line():
    samples, base, target = line(4000)
    asked = []

    def counted(points):
        asked.append(len(points))
        return model(points)

    result = RandomMixAttack()(counted, samples, base, target, partners=partners(samples))
    assert asked == [4000]
    assert result.success.all()
    shares = result.samples[:, 0]
    # uniform on [0, 1]: five standard deviations
    assert abs(shares.mean() - 0.5) < 0.023
    assert abs((shares < 0.25).float().mean() - 0.25) < 0.035
    torch.testing.assert_close(result.logits, model(result.samples))
    assert result.statistics()['accepted'] == 1


def test_a_mix_needs_no_sample_that_starts_in_its_base_class():
    samples, base, target = line(3)
    result = RandomMixAttack()(model, samples, target, base, partners=partners(samples))
    assert result.success.all()


@pytest.mark.parametrize(
    'attack', [RandomMixAttack(), ChosenMixAttack()], ids=lambda attack: type(attack).__name__
)
def test_a_sample_without_a_partner_is_rejected(attack):
    samples, base, target = line(3)
    result = attack(model, samples, base, target)
    assert not result.success.any()
    assert torch.equal(result.samples, samples)


def test_of_the_points_the_one_of_largest_entropy_is_taken():
    samples, base, target = line(2)
    result = ChosenMixAttack(num_passes=9)(model, samples, base, target, partners=partners(samples))
    torch.testing.assert_close(result.samples, torch.full((2, 1), 0.3))
    assert result.success.all()


def test_of_the_points_the_one_of_largest_disagreement_is_taken():
    samples, base, target = line(2)
    attack = ChosenMixAttack('disagreement', num_passes=3)
    assert attack.needs_student
    asked = []

    def student(points):
        asked.append(points.clone())
        return torch.zeros(len(points), 2)

    result = attack(model, samples, base, target, partners=partners(samples, student))
    assert torch.cat(asked).flatten().tolist() == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    # the teacher is surest at 0.75
    assert result.samples.flatten().tolist() == [0.75, 0.75]
    torch.testing.assert_close(result.logits, model(result.samples))
    with pytest.raises(ConfigError, match='asks the student'):
        attack(model, samples, base, target, partners=partners(samples))


def test_scores_are_the_written_formulas():
    teacher, student = 3 * torch.randn(2, 8, 5).double()
    q_t, q_s = teacher.softmax(1), student.softmax(1)
    torch.testing.assert_close(
        entropy(teacher), -(q_t * q_t.log()).sum(1), check_dtype=False, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        divergence(teacher, student),
        (q_t * (q_t / q_s).log()).sum(1),
        check_dtype=False,
        rtol=1e-4,
        atol=1e-5,
    )
    torch.testing.assert_close(divergence(teacher, teacher), torch.zeros(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize('changes', [dict(by='margin'), dict(num_passes=0)])
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        ChosenMixAttack(**changes)
