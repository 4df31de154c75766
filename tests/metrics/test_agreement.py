import pytest
import torch

from mmbss.attacks import BSSAttack
from mmbss.boundary.sampling import target_probabilities
from mmbss.engine.errors import ConfigError
from mmbss.metrics import Agreement

ATTACK = dict(type='mmbss.BSSAttack')


def inputs_and_labels(student, digits):
    data = student.data_preprocessor(dict(inputs=digits[0], data_samples=digits[1]))
    return data['inputs'], torch.cat([sample.gt_label for sample in digits[1]])


def test_on_clean_samples(evaluate, student, digits, digits_teacher):
    metric = Agreement(teacher=digits_teacher)
    metrics = evaluate(metric)
    inputs, _ = inputs_and_labels(student, digits)
    with torch.no_grad():
        teacher, own = metric.teacher.logits(inputs), student(inputs, mode='tensor')
    agreed = sum(int(a.argmax() == b.argmax()) for a, b in zip(teacher, own, strict=True))
    p, q = teacher.softmax(dim=1), own.softmax(dim=1)
    kl = [float((a * (a / b).log()).sum()) for a, b in zip(p, q, strict=True)]
    assert metrics['agreement/samples'] == len(inputs)
    assert metrics['agreement/top1'] == pytest.approx(100 * agreed / len(inputs))
    assert 0 < metrics['agreement/top1'] < 100
    assert metrics['agreement/kl'] == pytest.approx(sum(kl) / len(kl), rel=1e-3)


def test_a_teacher_with_other_classes_than_the_data_is_refused(student, digits_teacher):
    metric = Agreement(teacher=dict(digits_teacher, classes=list('9876543210')))
    metric.dataset_meta = dict(classes=tuple('0123456789'))
    with pytest.raises(ConfigError, match=r'the teacher: its classes .* are in another order'):
        metric.attach(student, 10)


def test_where_the_teacher_is_wrong(evaluate, student, digits, digits_teacher):
    inputs, labels = inputs_and_labels(student, digits)
    metric = Agreement(teacher=digits_teacher)
    evaluate(metric)
    with torch.no_grad():
        teacher, own = metric.teacher.logits(inputs), student(inputs, mode='tensor')
    # labels that make the teacher wrong on the first 20 and on no other sample
    labels = [(int(row.argmax()) + (place < 20)) % 10 for place, row in enumerate(teacher)]
    samples = [
        sample.clone().set_gt_label(label) for sample, label in zip(digits[1], labels, strict=True)
    ]
    metrics = evaluate(metric, digits=(digits[0], samples))
    agree = teacher[:20].argmax(dim=1) == own[:20].argmax(dim=1)
    p, q = teacher[:20].softmax(dim=1), own[:20].softmax(dim=1)
    assert metrics['agreement/samples_teacher_wrong'] == 20
    assert metrics['agreement/top1_teacher_wrong'] == pytest.approx(
        100 * float(agree.float().mean())
    )
    assert metrics['agreement/kl_teacher_wrong'] == pytest.approx(
        float((p * (p / q).log()).sum(dim=1).mean()), rel=1e-3
    )
    right = [
        sample.clone().set_gt_label(int(row.argmax()))
        for sample, row in zip(digits[1], teacher, strict=True)
    ]
    metrics = evaluate(metric, digits=(digits[0], right))
    assert metrics['agreement/samples_teacher_wrong'] == 0
    assert 'agreement/top1_teacher_wrong' not in metrics


def test_on_the_boundary_samples_of_the_teacher(evaluate, student, digits, digits_teacher):
    metric = Agreement(attack=ATTACK, teacher=digits_teacher)
    metrics = evaluate(metric)
    inputs, labels = inputs_and_labels(student, digits)
    metric.attach(student, len(labels))
    agreed, kl = [], []
    for place, (image, label) in enumerate(zip(inputs.split(1), labels.split(1), strict=True)):
        with torch.no_grad():
            logits = metric.teacher.logits(image)
        if logits.argmax() != label:
            continue
        chances = target_probabilities(logits, label)[0].cumsum(dim=0)
        target = (chances <= metric.uniforms[place]).sum().view(1)
        found = BSSAttack()(
            metric.teacher.logits, image, label, target, metric.teacher.pixel_bounds
        )
        if not found.success:
            continue
        with torch.no_grad():
            own = student(found.samples, mode='tensor')
        agreed.append(int(found.logits.argmax() == own.argmax()))
        p, q = found.logits[0].softmax(dim=0), own[0].softmax(dim=0)
        kl.append(float((p * (p / q).log()).sum()))
    assert metrics['boundary_agreement/samples'] == len(kl) > 20
    assert metrics['boundary_agreement/top1'] == pytest.approx(100 * sum(agreed) / len(kl))
    assert metrics['boundary_agreement/kl'] == pytest.approx(sum(kl) / len(kl), rel=1e-3)


def test_two_in_one_evaluator_have_names_of_their_own(digits_teacher):
    assert Agreement(teacher=digits_teacher).prefix == 'agreement'
    assert Agreement(teacher=digits_teacher, attack=ATTACK).prefix == 'boundary_agreement'
    assert Agreement(teacher=digits_teacher, attack=ATTACK, prefix='mine').prefix == 'mine'


def test_without_a_boundary_sample_nothing_is_said(evaluate, digits, digits_teacher):
    wrong = [sample.clone().set_gt_label((sample.gt_label + 1) % 10) for sample in digits[1]]
    metric = Agreement(attack=dict(type='mmbss.BSSAttack', step_size=1e-6), teacher=digits_teacher)
    assert evaluate(metric) == {'boundary_agreement/samples': 0}
    metric = Agreement(attack=ATTACK, teacher=digits_teacher, num_samples=5)
    metrics = evaluate(metric, digits=(digits[0], wrong))
    assert metrics['boundary_agreement/samples'] <= 1


def test_what_is_no_attack_is_refused(digits_teacher):
    with pytest.raises(ConfigError, match='Bogus'):
        Agreement(attack=dict(type='mmbss.Bogus'), teacher=digits_teacher)
