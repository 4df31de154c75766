import logging

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mmbss.attacks import NewtonAttack
from mmbss.metrics import BoundarySimilarity
from mmbss.metrics.boundary_similarity import compare_boundaries
from mmbss.registry import MODELS

NAME = 'boundary_similarity'
NEWTON = dict(type='mmbss.NewtonAttack', step_size=1.0, overshoot=0.01)


def linear(weight, bias=None):
    model = nn.Linear(weight.shape[1], weight.shape[0])
    model.weight.data, model.bias.data = weight, torch.zeros(len(weight)) if bias is None else bias
    return nn.Sequential(nn.Flatten(), model).eval()


# ---------------------------------------------------------------- the pure function


def test_perturbations_of_linear_networks_are_those_of_the_closed_form():
    weights = [torch.randn(2, 12) for _ in range(2)]
    samples = torch.randn(30, 3, 2, 2)
    networks = [linear(weight) for weight in weights]
    decisions = [network(samples).argmax(dim=1) for network in networks]
    both = decisions[0] == decisions[1]
    samples, base = samples[both], decisions[0][both]
    # bounds far away, of a different size in each channel: lengths are those in pixels
    lowest = torch.tensor([-1000.0, -2000.0, -4000.0]).view(3, 1, 1)
    values = compare_boundaries(
        *networks,
        samples,
        base,
        1 - base,
        NewtonAttack(step_size=1.0, overshoot=0.01),
        (lowest, -lowest),
    )
    assert len(base) > 5
    assert values['teacher_accepted'].all()
    assert values['student_accepted'].all()
    pixels = (255 / (-2 * lowest)).expand(3, 2, 2).flatten()
    for row, sample in enumerate(samples.flatten(1)):
        moved = []
        for weight in weights:
            normal = weight[base[row]] - weight[1 - base[row]]
            margin = sample @ normal
            moved.append(-(margin + 0.01) * normal / normal.dot(normal) * pixels)
        short, long = sorted(float(each.norm()) for each in moved)
        assert values['mag_sim'][row] == pytest.approx(short / long, rel=1e-3)
        cosine = float(moved[0] @ moved[1]) / (short * long)
        assert values['ang_sim'][row] == pytest.approx(cosine, abs=1e-3)


def test_a_pair_counts_only_where_the_same_class_is_reached():
    # three classes on a line: on the way from the first to the last lies the middle one
    model = linear(torch.tensor([[2.0], [1.9], [0.0]]), torch.tensor([0.0, 0.0, 1.0]))
    between = linear(torch.tensor([[1.0], [0.0], [-1.0]]), torch.tensor([0.0, 0.5, 0.0]))
    samples, base, target = torch.tensor([[2.0]]), torch.tensor([0]), torch.tensor([2])
    attack = NewtonAttack(step_size=1.0, overshoot=0.01, third_class='accept')
    values = compare_boundaries(model, between, samples, base, target, attack, (-10.0, 10.0))
    assert values['teacher_accepted'].tolist() == [True]
    assert values['student_accepted'].tolist() == [False]


# ---------------------------------------------------------------- the metric


def test_a_network_is_like_itself(evaluate, digits_teacher, student):
    state = {key: value.clone() for key, value in student.state_dict().items()}
    student.load_state_dict(torch.load(digits_teacher['checkpoint'])['state_dict'])
    try:
        metrics = evaluate(BoundarySimilarity(teacher=digits_teacher))
    finally:
        student.load_state_dict(state)
    assert metrics[f'{NAME}/mag_sim'] == pytest.approx(1.0, abs=1e-6)
    assert metrics[f'{NAME}/ang_sim'] == pytest.approx(1.0, abs=1e-6)
    assert metrics[f'{NAME}/pairs'] > 20
    assert metrics[f'{NAME}/pairs_one_sided'] == 0


def by_hand(metric, student, digits):
    """Values of each pair, one sample at a time."""
    teacher, inputs = (
        metric.teacher,
        student.data_preprocessor(dict(inputs=digits[0], data_samples=digits[1]))['inputs'],
    )
    pairs, tried, one_sided = [], 0, 0
    for place, (image, sample) in enumerate(zip(inputs.split(1), digits[1], strict=True)):
        with torch.no_grad():
            logits = teacher.logits(image), student(image, mode='tensor')
        label = sample.gt_label
        if not all(each.argmax() == label for each in logits):
            continue
        tried += 1
        probabilities = logits[0][0].softmax(dim=0)
        probabilities[label] = 0
        threshold = metric.uniforms[place] * probabilities.sum()
        target = torch.tensor([(probabilities.cumsum(0) <= threshold).sum()])
        found = [
            metric.attack(network, image, label, target, teacher.pixel_bounds)
            for network in (teacher.logits, lambda x: student(x, mode='tensor'))
        ]
        one_sided += int(found[0].success != found[1].success)
        if all(each.success for each in found):
            moved = [((each.samples - image) * 95.9).flatten() for each in found]
            lengths = [float(each.norm()) for each in moved]
            cosine = float(moved[0] @ moved[1]) / (lengths[0] * lengths[1])
            pairs.append((int(label), min(lengths) / max(lengths), cosine))
    return pairs, tried, one_sided


def test_the_metric_is_the_mean_over_pairs_found_one_by_one(
    evaluate, student, digits, digits_teacher
):
    metric = BoundarySimilarity(teacher=digits_teacher, per_class=True)
    metrics = evaluate(metric)
    metric.attach(student, len(digits[1]))
    pairs, tried, one_sided = by_hand(metric, student, digits)
    assert 20 < len(pairs) < tried
    assert one_sided > 0
    assert metrics[f'{NAME}/pairs'] == len(pairs)
    assert metrics[f'{NAME}/pairs_tried'] == tried
    assert metrics[f'{NAME}/pairs_one_sided'] == one_sided
    for index, name in ((1, 'mag_sim'), (2, 'ang_sim')):
        mean = sum(pair[index] for pair in pairs) / len(pairs)
        assert metrics[f'{NAME}/{name}'] == pytest.approx(mean, rel=1e-3)
        for label in {pair[0] for pair in pairs}:
            own = [pair[index] for pair in pairs if pair[0] == label]
            key = f'{NAME}/{name}_of_{label}'
            assert metrics[key] == pytest.approx(sum(own) / len(own), rel=1e-3)
    assert len(metrics) == 5 + 2 * len({pair[0] for pair in pairs})


def perceptron(mean, std):
    config = dict(
        type='ImageClassifier',
        backbone=dict(type='mmbss.MLP', in_features=64, hidden=(30,)),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=30),
        data_preprocessor=dict(mean=[mean], std=[std]),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return config, MODELS.build(config).eval()


@pytest.mark.parametrize('attack', [None, NEWTON])
def test_normalisation_makes_no_difference(attack, digits, tmp_path, evaluate):
    """The same network, written for two normalisations, is like itself."""
    config, teacher = perceptron(0.0, 51.0)
    _, student = perceptron(100.0, 20.0)
    teacher.head.fc.weight.data *= 20
    student.load_state_dict(teacher.state_dict())
    first = student.backbone.layers[0]
    with torch.no_grad():
        first.weight *= 20.0 / 51.0
        first.bias += teacher.backbone.layers[0].weight.sum(dim=1) * 100.0 / 51.0
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    samples = [sample.clone() for sample in digits[1]]
    batch = dict(inputs=digits[0], data_samples=samples)
    with torch.no_grad():
        decided = [model.val_step(batch) for model in (teacher, student)]
    for sample, one, other in zip(samples, *decided, strict=True):
        assert torch.allclose(one.pred_score, other.pred_score, atol=1e-4)
        sample.set_gt_label(one.pred_label)
    metric = BoundarySimilarity(
        attack=attack, teacher=dict(config=config, checkpoint=str(tmp_path / 'teacher.pth'))
    )
    metrics = evaluate(metric, student, (digits[0], samples))
    assert not metric.teacher.input_map.is_identity
    assert metrics[f'{NAME}/pairs'] > 20
    assert metrics[f'{NAME}/mag_sim'] == pytest.approx(1.0, abs=1e-3)
    assert metrics[f'{NAME}/ang_sim'] == pytest.approx(1.0, abs=1e-3)


def test_without_a_pair_both_values_are_left_out_with_a_warning(
    evaluate, digits_teacher, digits, caplog
):
    wrong = [sample.clone().set_gt_label((sample.gt_label + 1) % 10) for sample in digits[1]]
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        metrics = evaluate(
            BoundarySimilarity(teacher=digits_teacher, num_samples=10), digits=(digits[0], wrong)
        )
    assert metrics[f'{NAME}/pairs'] == 0
    assert set(metrics) == {
        f'{NAME}/{name}' for name in ('pairs', 'pairs_tried', 'pairs_one_sided')
    }


def test_a_distiller_lends_its_teacher(make_distiller, digits, evaluate):
    model = make_distiller(favoured=3, data_preprocessor=dict(mean=[77.9], std=[95.9]))
    metric = BoundarySimilarity()
    metrics = evaluate(metric, model)
    assert metric.teacher is model.teacher
    assert metrics[f'{NAME}/pairs_tried'] > 0


def test_a_plain_classifier_has_no_teacher_to_lend(student):
    with pytest.raises(ValueError, match='no teacher of its own: give teacher=dict'):
        BoundarySimilarity().attach(student, 10)


def test_other_classes_are_refused(student, make_teacher, resnet_config):
    metric = BoundarySimilarity(teacher=make_teacher(resnet_config(num_classes=7)))
    with pytest.raises(ValueError, match='the student has 10 classes, the teacher 7'):
        metric.attach(student, 10)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(attack=dict(type='mmbss.BSSAttack', step_sice=1)), "did you mean 'step_size'"),
        (dict(attack=dict(num_steps=10)), 'BoundarySimilarity.attack must be a dict with a type'),
        (dict(teacher=dict(checkpoint='a')), "BoundarySimilarity.teacher lacks 'config'"),
        (dict(teacher=dict(config={}, checkpoint='', scale=1)), "teacher has no key 'scale'"),
    ],
)
def test_bad_arguments_are_refused_when_the_metric_is_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        BoundarySimilarity(**arguments)


@pytest.mark.parametrize('name', ['mmbss.SegmentAttack', 'mmbss.PGDAttack'])
def test_both_networks_are_attacked_with_the_same_draws(
    name, evaluate, digits_teacher, teacher_as_student
):
    options = dict(random_start=True, radius=40.0, step_size=8.0) if 'PGD' in name else {}
    metric = BoundarySimilarity(dict(type=name, **options), teacher=digits_teacher)
    metrics = evaluate(metric, teacher_as_student)
    assert metrics[f'{NAME}/pairs'] > 20
    assert metrics[f'{NAME}/mag_sim'] == pytest.approx(1.0, abs=1e-5)
    assert metrics[f'{NAME}/ang_sim'] == pytest.approx(1.0, abs=1e-5)
