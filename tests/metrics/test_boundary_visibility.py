import pytest
import torch

from mmbss.attacks import ClosestAttack
from mmbss.attacks.functional import margin
from mmbss.boundary.sampling import target_probabilities
from mmbss.metrics import BoundaryVisibility


def test_the_change_of_the_margins_is_that_of_the_formula(
    evaluate, student, digits, digits_teacher
):
    metric = BoundaryVisibility(teacher=digits_teacher)
    metrics = evaluate(metric, count=30)
    inputs, samples = digits[0][:30], digits[1][:30]
    data = student.data_preprocessor(dict(inputs=inputs, data_samples=samples))
    labels = torch.cat([sample.gt_label for sample in samples])
    metric.attach(student, len(labels))
    teacher = metric.teacher
    margins, drops = [], []
    for place, (image, label) in enumerate(
        zip(data['inputs'].split(1), labels.split(1), strict=True)
    ):
        logits = teacher.logits(image)
        if logits.argmax() != label:
            continue
        chances = target_probabilities(logits, label)[0].cumsum(dim=0)
        target = (chances <= metric.uniforms[place]).sum().view(1)
        found = ClosestAttack()(teacher.logits, image, label, target, teacher.pixel_bounds)
        if not found.success:
            continue
        with torch.no_grad():
            answers = [
                ask(each)
                for ask in (lambda each: student(each, mode='tensor'), teacher.logits)
                for each in (image, found.samples)
            ]
        margins.append([float(margin(each, label, found.target)) for each in answers])
        drops.append([float(each.softmax(dim=1)[0, label]) for each in answers])
    means, chances = (torch.tensor(each).mean(dim=0).tolist() for each in (margins, drops))
    names = ('student_clean', 'student_boundary', 'teacher_clean', 'teacher_boundary')
    for name, mean in zip(names, means, strict=True):
        assert metrics[f'boundary_visibility/{name}'] == pytest.approx(mean, rel=1e-3, abs=1e-3)
    seen = 100 * (means[0] - means[1]) / (means[2] - means[3])
    assert metrics['boundary_visibility/samples'] == len(margins) > 20
    assert metrics['boundary_visibility/seen'] == pytest.approx(seen, rel=1e-3)
    for role, (before, after) in dict(student=chances[:2], teacher=chances[2:]).items():
        drop = metrics[f'boundary_visibility/{role}_drop']
        assert drop == pytest.approx(100 * (before - after), rel=1e-3)


def test_a_teacher_sees_all_of_it(evaluate, teacher_as_student, digits_teacher):
    metrics = evaluate(
        BoundaryVisibility(teacher=digits_teacher, num_samples=20), teacher_as_student
    )
    assert metrics['boundary_visibility/seen'] == pytest.approx(100)
    assert metrics['boundary_visibility/teacher_boundary'] == pytest.approx(0, abs=0.05)
    assert metrics['boundary_visibility/teacher_clean'] > 1


def test_a_boundary_between_two_images_is_seen(evaluate, digits_teacher):
    attack = dict(type='mmbss.SegmentAttack')
    far = evaluate(BoundaryVisibility(attack=attack, teacher=digits_teacher), batch_size=60)
    near = evaluate(BoundaryVisibility(teacher=digits_teacher, num_samples=20))
    assert far['boundary_visibility/samples'] > 20
    assert far['boundary_visibility/student_drop'] > near['boundary_visibility/student_drop']


def test_without_a_boundary_sample_nothing_is_said(evaluate, digits_teacher):
    attack = dict(type='mmbss.BSSAttack', step_size=1e-6)
    metric = BoundaryVisibility(attack=attack, teacher=digits_teacher, num_samples=5)
    assert evaluate(metric) == {'boundary_visibility/samples': 0}


def test_of_a_teacher_whose_margin_stays_nothing_is_seen():
    metric = BoundaryVisibility(teacher=dict(config='teacher.py'))
    zeros = dict.fromkeys(metric.fields, torch.zeros(2, dtype=torch.float64))
    metrics = metric.summarise(zeros)
    assert metrics['samples'] == 2
    assert 'seen' not in metrics
