import pytest
import torch

from mmbss.attacks import Attack, AttackResult, FGSMAttack
from mmbss.metrics import RobustAccuracy
from mmbss.registry import ATTACKS

FGSM = dict(type='mmbss.FGSMAttack', radius=20.0)


@pytest.fixture
def recorder():
    """An attack that moves nothing and remembers what it was called with."""

    class Recorder(Attack):
        calls = []

        def run(self, model, samples, base, target, bounds):
            self.calls.append((samples, base, target, bounds))
            with torch.no_grad():
                logits = model(samples)
            moved = torch.zeros_like(base)
            return AttackResult(samples, logits, base, target, moved.bool(), moved)

    ATTACKS.register_module(module=Recorder, force=True)
    yield Recorder
    ATTACKS.module_dict.pop('Recorder')


def test_a_sample_counts_where_it_is_right_before_and_after(evaluate, student, digits):
    metrics = evaluate(RobustAccuracy(dict(fgsm=FGSM)))
    data = student.data_preprocessor(dict(inputs=digits[0], data_samples=digits[1]))
    attack, bounds = FGSMAttack(radius=20.0, targeted=False), ((0 - 77.9) / 95.9, 177.1 / 95.9)
    clean = robust = 0
    for image, sample in zip(data['inputs'].split(1), digits[1], strict=True):
        label = sample.gt_label
        with torch.no_grad():
            decided = student(image, mode='tensor').argmax(dim=1)
        if decided == label:
            clean += 1
            found = attack(
                lambda x: student(x, mode='tensor'), image, label, (label + 1) % 10, bounds
            )
            robust += int(found.logits.argmax() == label)
    count = len(digits[1])
    assert 0 < robust < clean < count
    assert metrics['robust_accuracy/clean'] == pytest.approx(100 * clean / count)
    assert metrics['robust_accuracy/fgsm'] == pytest.approx(100 * robust / count)


def test_a_larger_radius_and_more_steps_leave_less(evaluate):
    pgd = dict(type='mmbss.PGDAttack', radius=20.0, step_size=4.0, num_steps=10)
    attacks = dict(fgsm_1=dict(FGSM, radius=1.0), fgsm_20=FGSM, pgd_20=pgd)
    metrics = evaluate(RobustAccuracy(attacks))
    values = [metrics[f'robust_accuracy/{name}'] for name in ('clean', *attacks)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_right_samples_alone_are_attacked_within_the_pixel_bounds(evaluate, recorder):
    metrics = evaluate(RobustAccuracy(dict(nothing=dict(type='Recorder'))), batch_size=60)
    ((samples, base, target, bounds),) = recorder.calls
    assert metrics['robust_accuracy/clean'] == metrics['robust_accuracy/nothing']
    assert len(samples) == round(metrics['robust_accuracy/clean'] * 60 / 100) < 60
    assert (base != target).all()
    for bound, pixel in zip(bounds, (0, 255), strict=True):
        assert float(bound) == pytest.approx((pixel - 77.9) / 95.9)
    assert samples.min() >= bounds[0] - 1e-6
    assert samples.max() <= bounds[1] + 1e-6


def test_attacks_go_away_from_the_class_unless_told_otherwise():
    metric = RobustAccuracy(dict(away=FGSM, toward=dict(FGSM, targeted=True)))
    assert not metric.attacks['away'].targeted
    assert metric.attacks['toward'].targeted
    assert RobustAccuracy(dict(bss=dict(type='mmbss.BSSAttack'))).attacks


def test_an_attack_of_a_library(evaluate):
    pytest.importorskip('foolbox')
    attack = dict(type='mmbss.LibraryAttack', name='LinfFastGradientAttack', radius=20.0)
    metrics = evaluate(RobustAccuracy(dict(own=FGSM, library=attack), num_samples=30))
    own, library = (metrics[f'robust_accuracy/{name}'] for name in ('own', 'library'))
    assert library == pytest.approx(own, abs=5)


def test_autoattack_leaves_no_more_than_the_fast_attack(evaluate):
    pytest.importorskip('pyautoattack')
    attack = dict(type='mmbss.LibraryAttack', library='autoattack', name='apgd-ce', radius=20.0)
    metrics = evaluate(RobustAccuracy(dict(own=FGSM, auto=attack), num_samples=8))
    clean, own, auto = (metrics[f'robust_accuracy/{name}'] for name in ('clean', 'own', 'auto'))
    assert auto <= own <= clean
    assert auto < clean


def test_without_a_sample_nothing_is_said():
    assert RobustAccuracy(dict(fgsm=FGSM)).compute_metrics([]) == {}


@pytest.mark.parametrize('attacks', [{}, dict(clean=FGSM)])
def test_attacks_need_names(attacks):
    with pytest.raises(ValueError, match='must name one attack or more'):
        RobustAccuracy(attacks)


@pytest.mark.parametrize('config', [dict(radius=2.0), 'mmbss.FGSMAttack', dict(FGSM, radus=1)])
def test_a_bad_config_is_named(config):
    with pytest.raises(ValueError, match=r'RobustAccuracy\.attacks\.fgsm'):
        RobustAccuracy(dict(fgsm=config))
