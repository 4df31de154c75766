import math

import pytest
import torch

from mmbss.boundary.sampling import (
    TARGET_CLASSES,
    choose_partners,
    choose_target_classes,
    correct,
    disagreement,
    draw_target_classes,
    select_base_samples,
    target_probabilities,
)


def softmax(row):
    highest = max(row)
    powers = [math.exp(z - highest) for z in row]
    return [power / sum(powers) for power in powers]


def loop_disagreement(student, teacher, labels):
    """Sum over k != y of (q_t^k - q_s^k)^2, as it is written."""
    result = []
    for f_s, f_t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        q_s, q_t = softmax(f_s), softmax(f_t)
        result.append(sum((q_t[k] - q_s[k]) ** 2 for k in range(len(f_s)) if k != y))
    return torch.tensor(result)


def loop_target_probabilities(teacher, base):
    """q_t^k / (1 - q_t^b) for k != b, 0 for b, as it is written."""
    rows = []
    for f_t, b in zip(teacher.tolist(), base.tolist(), strict=True):
        q_t = softmax(f_t)
        rows.append([0.0 if k == b else q_t[k] / (1 - q_t[b]) for k in range(len(f_t))])
    return torch.tensor(rows)


@pytest.mark.parametrize('num_classes', [2, 10, 1000])
def test_disagreement_is_the_written_formula(num_classes):
    student, teacher = 2 * torch.randn(2, 7, num_classes)
    labels = torch.randint(num_classes, (7,))
    torch.testing.assert_close(
        disagreement(student, teacher, labels),
        loop_disagreement(student.double(), teacher.double(), labels),
        rtol=1e-4,
        atol=1e-7,
    )


@pytest.mark.parametrize('num_classes', [2, 10, 1000])
def test_target_probabilities_are_the_written_formula(num_classes):
    teacher = 2 * torch.randn(7, num_classes)
    base = teacher.argmax(dim=1)
    probabilities = target_probabilities(teacher, base)
    torch.testing.assert_close(
        probabilities, loop_target_probabilities(teacher.double(), base), rtol=1e-4, atol=1e-7
    )
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(7))
    assert (probabilities.gather(1, base[:, None]) == 0).all()


def test_saturated_teacher_has_exact_target_probabilities():
    # in float32 q_b rounds to 1, and the quotient of the formula would be 0 / 0
    teacher = torch.tensor([[1000.0, 2.0, 1.0], [3e38, 0.0, 0.0]])
    probabilities = target_probabilities(teacher, torch.tensor([0, 0]))
    expected = torch.tensor([[0.0, *softmax([2.0, 1.0])], [0.0, 0.5, 0.5]])
    torch.testing.assert_close(probabilities, expected)
    assert draw_target_classes(teacher, torch.tensor([0, 0])).ne(0).all()


def test_saturated_networks_have_finite_disagreement():
    scores = disagreement(
        torch.tensor([[1e6, -1e6], [0.0, 0.0]]),
        torch.tensor([[1e6, 0.0], [1e6, -1e6]]),
        torch.tensor([0, 0]),
    )
    torch.testing.assert_close(scores, torch.tensor([0.0, 0.25]))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_scores_are_float32_whatever_the_logits_are(dtype):
    student, teacher = torch.randn(2, 5, 10).to(dtype)
    labels = torch.randint(10, (5,))
    assert disagreement(student, teacher, labels).dtype is torch.float32
    assert target_probabilities(teacher, labels).dtype is torch.float32
    assert draw_target_classes(teacher, labels).dtype is torch.int64


def test_candidates_are_those_that_all_who_are_asked_classify_correctly():
    right, wrong = [2.0, 1.0], [1.0, 2.0]
    student = torch.tensor([right, right, wrong, wrong])
    teacher = torch.tensor([right, wrong, right, wrong])
    labels = torch.zeros(4, dtype=torch.int64)
    assert correct(labels, student, teacher).tolist() == [True, False, False, False]
    assert select_base_samples(teacher, labels, 4, student_logits=student).tolist() == [0]
    assert select_base_samples(teacher, labels, 4, 'all').tolist() == [0, 2]


def test_the_candidates_of_largest_disagreement_are_chosen():
    teacher = torch.randn(40, 10)
    student = teacher + torch.randn(40, 10)
    labels = teacher.argmax(dim=1)
    scores = loop_disagreement(student, teacher, labels)
    candidates = [i for i in range(40) if student[i].argmax() == labels[i]]
    assert len(candidates) > 5
    expected = sorted(candidates, key=lambda i: -scores[i])[:5]
    chosen = select_base_samples(teacher, labels, 5, student_logits=student)
    assert sorted(chosen.tolist()) == sorted(expected)


@pytest.mark.parametrize('count', [0, 1, 3])
def test_all_candidates_are_chosen_where_there_are_few(count):
    teacher = torch.eye(3).repeat(2, 1)
    labels = teacher.argmax(dim=1)
    labels[count:] = (labels[count:] + 1) % 3
    chosen = select_base_samples(teacher, labels, 4, student_logits=teacher)
    assert chosen.tolist() == list(range(count))
    assert chosen.dtype is torch.int64
    assert draw_target_classes(teacher[chosen], labels[chosen]).shape == (count,)


def test_logits_without_a_softmax_are_no_candidates():
    teacher = torch.tensor([[2.0, 1.0], [torch.nan, 1.0], [torch.inf, 1.0], [2.0, -torch.inf]])
    labels = torch.zeros(4, dtype=torch.int64)
    assert select_base_samples(teacher, labels, 4, 'all').tolist() == [0, 3]


def test_empty_batch_has_no_base_sample():
    logits, labels = torch.zeros(0, 10), torch.zeros(0, dtype=torch.int64)
    assert select_base_samples(logits, labels, 4, student_logits=logits).shape == (0,)
    assert disagreement(logits, logits, labels).shape == (0,)
    assert target_probabilities(logits, labels).shape == (0, 10)
    assert draw_target_classes(logits, labels).shape == (0,)


def test_with_two_classes_the_target_is_the_other():
    teacher = torch.randn(20, 2)
    base = teacher.argmax(dim=1)
    assert torch.equal(draw_target_classes(teacher, base), 1 - base)


def test_targets_are_drawn_with_the_teachers_probabilities():
    teacher = torch.tensor([[5.0, 1.0, 0.0, 2.0]]).expand(20000, 4)
    base = torch.zeros(20000, dtype=torch.int64)
    shares = torch.bincount(draw_target_classes(teacher, base), minlength=4) / 20000
    # five standard deviations of a share of one half
    torch.testing.assert_close(shares, target_probabilities(teacher, base)[0], rtol=0, atol=0.018)


def test_draws_repeat_under_a_seed_and_differ_without():
    teacher, base = torch.zeros(100, 10), torch.zeros(100, dtype=torch.int64)
    torch.manual_seed(3)
    first, second = draw_target_classes(teacher, base), draw_target_classes(teacher, base)
    torch.manual_seed(3)
    assert torch.equal(draw_target_classes(teacher, base), first)
    assert not torch.equal(first, second)


# ---------------------------------------------------------------- other choices


def test_at_random_each_candidate_is_as_likely():
    right, wrong = [2.0, 1.0, 0.0], [1.0, 2.0, 0.0]
    teacher = torch.tensor([right, wrong, right, right, right, right])
    labels = torch.zeros(6, dtype=torch.int64)
    counts = torch.zeros(6)
    for _ in range(2000):
        chosen = select_base_samples(teacher, labels, 2, by='random', student_logits=teacher)
        assert len(set(chosen.tolist())) == 2
        counts[chosen] += 1
    # two of five candidates; five standard deviations
    expected = torch.tensor([0.4, 0.0, 0.4, 0.4, 0.4, 0.4])
    torch.testing.assert_close(counts / 2000, expected, rtol=0, atol=0.055)


def test_all_candidates_are_chosen_whatever_the_number():
    teacher = torch.randn(40, 10)
    labels = teacher.argmax(dim=1)
    labels[::2] = (labels[::2] + 1) % 10
    chosen = select_base_samples(teacher, labels, 3, by='all', student_logits=teacher)
    assert chosen.tolist() == list(range(1, 40, 2))


def test_the_second_most_probable_class_is_the_strongest_but_the_base_class():
    teacher = torch.randn(50, 10)
    base = teacher.argmax(dim=1)
    base[0] = teacher[0].argmin()
    _, targets = choose_target_classes(teacher, base, by='second_most_probable')
    for row in range(50):
        others = [k for k in range(10) if k != base[row]]
        assert targets[row] == max(others, key=lambda k, row=row: teacher[row, k])


def test_the_default_draws_as_published():
    teacher, base = torch.randn(50, 10), torch.zeros(50, dtype=torch.int64)
    torch.manual_seed(3)
    expected = draw_target_classes(teacher, base)
    torch.manual_seed(3)
    _, targets = choose_target_classes(teacher, base)
    assert torch.equal(targets, expected)


def test_a_rule_that_nobody_wrote_is_not_taken_for_another():
    with pytest.raises(ValueError, match='by must be'):
        choose_target_classes(torch.randn(2, 3), torch.tensor([0, 1]), by='farthest')


@pytest.mark.parametrize('by', TARGET_CLASSES)
@pytest.mark.parametrize('count', [0, 1])
def test_targets_of_few_samples(by, count):
    teacher, base = torch.randn(count, 2), torch.zeros(count, dtype=torch.int64)
    indices, targets = choose_target_classes(teacher, base, by=by)
    assert indices.tolist() == list(range(count))
    assert targets.tolist() == [1] * count


def test_candidates_are_those_that_are_asked_for():
    right, wrong = [2.0, 1.0], [1.0, 2.0]
    student = torch.tensor([right, right, wrong, wrong, right])
    teacher = torch.tensor([right, wrong, right, wrong, [torch.nan, 0.0]])
    labels = torch.zeros(5, dtype=torch.int64)
    for candidates, expected in (
        ('both_correct', [0]),
        ('teacher_correct', [0, 2]),
        ('all', [0, 1, 2, 3]),
    ):
        chosen = select_base_samples(teacher, labels, 9, 'random', student, candidates)
        assert chosen.tolist() == expected


# ---------------------------------------------------------------- partners


def pool_of(classes, num_classes=4):
    return 5.0 * torch.nn.functional.one_hot(torch.tensor(classes), num_classes).float()


def drawn(*arguments, times=80):
    """Partners of each base sample that are drawn at all."""
    seen = {}
    for _ in range(times):
        indices, rows = choose_partners(*arguments)
        for index, row in zip(indices.tolist(), rows.tolist(), strict=True):
            seen.setdefault(index, set()).add(row)
    return seen


def test_random_partners_are_any_of_another_class():
    pool = pool_of([0, 1, 1, 2, 0])
    seen = drawn(pool_of([0, 1, 3]), torch.tensor([0, 1, 3]), pool)
    assert seen == {0: {1, 2, 3}, 1: {0, 3, 4}, 2: {0, 1, 2, 3, 4}}


def test_a_partner_is_neither_of_the_base_class_nor_of_the_teachers_decision():
    # the teacher is wrong: it says 1, the label is 0
    seen = drawn(pool_of([1]), torch.tensor([0]), pool_of([0, 1, 2, 3]))
    assert seen == {0: {2, 3}}


def test_samples_without_a_partner_are_left_out():
    pool = torch.cat([pool_of([0, 0]), torch.tensor([[torch.nan, 0.0, 0.0, 0.0]])])
    indices, rows = choose_partners(pool_of([0, 1]), torch.tensor([0, 1]), pool)
    assert indices.tolist() == [1]
    assert rows.tolist()[0] in (0, 1)
    for teacher, candidates in ((pool_of([0]), pool[:2]), (pool[:0], pool), (pool, pool[:0])):
        base = teacher.argmax(dim=1)
        indices, rows = choose_partners(teacher[:1], base[:1], candidates[:2])
        assert indices.shape == rows.shape == (0,)
        assert rows.dtype is torch.int64


def test_partners_repeat_under_a_seed():
    pool = torch.randn(40, 5)
    base = pool.argmax(dim=1)
    torch.manual_seed(3)
    first = choose_partners(pool, base, pool)
    second = choose_partners(pool, base, pool)
    torch.manual_seed(3)
    assert torch.equal(choose_partners(pool, base, pool)[1], first[1])
    assert not torch.equal(first[1], second[1])


def test_a_way_to_choose_that_there_is_not_is_refused():
    logits, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(ValueError, match='by must be'):
        select_base_samples(logits, labels, 1, by='disagreemnt', student_logits=logits)


@pytest.mark.parametrize('by', TARGET_CLASSES)
def test_a_sample_all_of_whose_other_classes_are_ruled_out_has_no_target(by):
    logits = torch.tensor([[5.0, -torch.inf, -torch.inf], [3.0, 1.0, -torch.inf]])
    indices, targets = choose_target_classes(logits, torch.tensor([0, 0]), by)
    assert indices.unique().tolist() == [1]
    assert targets.tolist() == [1]
    indices, targets = choose_target_classes(torch.ones(2, 1), torch.zeros(2).long(), by)
    assert len(indices) == len(targets) == 0
