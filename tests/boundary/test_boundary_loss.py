import pytest
import torch
from boundary_checks import STATISTICS, all_attacked
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample

from mmbss.losses import kd_loss


def capture_attack(distiller, monkeypatch):
    """Record what the attack is given and what it gives."""
    calls = []
    run = distiller.terms['loss_bss'].attack.run

    def recorded(model, samples, base, target, bounds):
        result = run(model, samples, base, target, bounds)
        calls.append((samples, base, target, bounds, result))
        return result

    monkeypatch.setattr(distiller.terms['loss_bss'].attack, 'run', recorded)
    return calls


@pytest.mark.parametrize('train_on', ['accepted', 'all'])
def test_loss_is_kd_at_the_samples_that_are_kept(trained_pair, monkeypatch, train_on):
    attack = dict(type='mmbss.BSSAttack', num_steps=2, step_size=0.3)
    distiller, batch = trained_pair(train_on=train_on, attack=attack)
    calls = capture_attack(distiller, monkeypatch)
    losses = distiller.loss(*batch)
    ((samples, base, target, _, result),) = calls
    labels = torch.cat([sample.gt_label for sample in batch[1]])
    assert len(samples) == 32
    assert not (base == target).any()
    assert torch.bincount(base).le(torch.bincount(labels)).all()
    assert 1 < result.success.sum() < 32, 'the case must hold accepted and rejected samples'
    kept = result.success if train_on == 'accepted' else torch.ones(32, dtype=torch.bool)
    expected = 2 * kd_loss(distiller(result.samples[kept]), result.logits[kept], 3.0)
    torch.testing.assert_close(losses['loss_bss'], expected)


def test_statistics_are_those_of_the_attack(trained_pair, monkeypatch):
    distiller, batch = trained_pair()
    calls = capture_attack(distiller, monkeypatch)
    losses = distiller.loss(*batch)
    *_, result = calls[0]
    assert losses['bss_samples'] == len(result.samples)
    for name, value in result.statistics().items():
        assert torch.equal(losses[f'bss_{name}'], value)
    shares = losses['bss_accepted'] + losses['bss_third_class'] + losses['bss_not_crossed']
    torch.testing.assert_close(shares, torch.tensor(1.0))


def test_statistics_are_logged_and_not_summed(make_distiller, make_batch):
    distiller = make_distiller(favoured=0)
    losses = distiller.loss(*make_batch([0] * 16))
    assert not any('loss' in name for name in STATISTICS)
    total, log = distiller.parse_losses(losses)
    torch.testing.assert_close(total, sum(losses[f'loss_{name}'] for name in ('cls', 'kd', 'bss')))
    assert set(log) == {'loss', *losses}


def test_samples_found_on_a_trained_teacher_lie_at_its_boundary(trained_pair, monkeypatch):
    distiller, batch = trained_pair()
    calls = capture_attack(distiller, monkeypatch)
    losses = distiller.loss(*batch)
    samples, base, target, (lowest, highest), result = calls[0]
    assert torch.equal(distiller.teacher.logits(samples).argmax(dim=1), base)
    assert (result.samples >= lowest).all()
    assert (result.samples <= highest).all()
    torch.testing.assert_close(distiller.teacher.logits(result.samples), result.logits)
    found = result.logits[result.success].topk(2).indices
    assert torch.equal(found[:, 0], target[result.success])
    assert losses['bss_samples'] == len(samples)


@pytest.mark.parametrize('bounds', [None, (-0.5, 0.5)])
def test_samples_keep_to_the_bounds(make_distiller, make_batch, monkeypatch, bounds, resnet_config):
    student = resnet_config(data_preprocessor=dict(mean=[100.0], std=[50.0]))
    boundary = dict(all_attacked(num_steps=6, step_size=2.0), bounds=bounds)
    distiller = make_distiller(student, favoured=0, boundary=boundary)
    calls = capture_attack(distiller, monkeypatch)
    distiller.loss(*make_batch([0] * 8))
    lowest, highest = bounds or (-2.0, 3.1)
    found = calls[0][-1].samples
    assert found.min() >= lowest
    assert found.max() <= highest
    assert (found == lowest).any() or (found == highest).any(), 'the bounds must bind'


def test_boundary_samples_are_mapped_between_two_normalisations(
    make_distiller, make_teacher, make_batch, monkeypatch, resnet_config
):
    student = resnet_config(data_preprocessor=dict(mean=[100.0], std=[50.0]))
    config = resnet_config(data_preprocessor=dict(mean=[0.0], std=[255.0]))
    distiller = make_distiller(
        student, make_teacher(config, favoured=0), favoured=0, boundary=all_attacked(num_steps=2)
    )
    calls = capture_attack(distiller, monkeypatch)
    inputs, samples = make_batch([0] * 8)
    inputs = inputs.clamp(-2.0, 3.1)  # pixels 0 and 255
    losses = distiller.loss(inputs, samples)
    base, *_, result = calls[0]
    pixels = inputs * 50 + 100
    torch.testing.assert_close(base.sort(dim=0)[0], (pixels / 255).sort(dim=0)[0])
    assert result.samples.min() >= 0
    assert result.samples.max() <= 1
    at_student = (result.samples * 255 - 100) / 50
    expected = 2 * kd_loss(distiller(at_student), result.logits, 3.0)
    torch.testing.assert_close(losses['loss_bss'], expected, rtol=1e-4, atol=1e-5)


def test_no_gradient_goes_through_the_search(make_distiller, make_batch, monkeypatch):
    distiller = make_distiller(favoured=0)
    calls = capture_attack(distiller, monkeypatch)
    inputs, samples = make_batch([0] * 8)
    inputs.requires_grad_()
    distiller.loss(inputs, samples)
    given, *_, result = calls[0]
    assert not given.requires_grad
    assert not result.samples.requires_grad


@pytest.mark.parametrize(
    'changes',
    [
        dict(base_samples='random'),
        dict(base_samples='all'),
        dict(target_class='second_most_probable'),
        dict(train_on='all', loss=dict(type='mmbss.DKDLoss')),
        dict(loss=dict(type='mmbss.DISTLoss')),
        dict(
            candidates='teacher_correct',
            loss=dict(type='mmbss.KDLoss', standardise_logits=True),
        ),
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())).split('-{')[0],
)
def test_each_choice_trains(bss_settings, tmp_path, boundary_config, make_runner, changes):
    model = bss_settings(tmp_path)['model']
    model['losses']['loss_bss'] = boundary_config(**changes)
    schedules = dict(loss_kd=dict(start=4.0, end=1.0), loss_bss=dict(start=2.0, end=0.0, until=0.5))
    hooks = [dict(type='mmbss.BSSHook', schedules=schedules)]
    runner = make_runner(model, custom_hooks=hooks, epochs=2)
    runner.train()
    scalars = runner.message_hub.log_scalars
    attacked, learnt = (
        [float(value) for value in scalars[f'train/{name}'].data[0]]
        for name in ('bss_samples', 'loss_bss')
    )
    assert max(attacked[:6]) > 0
    assert max(learnt[:6]) > 0
    assert all(value < float('inf') for value in learnt)
    assert attacked[6:] == learnt[6:] == [0.0] * 6, 'the schedule has ended'


def test_with_weight_0_no_attack_runs(make_distiller, make_batch, count_calls):
    distiller = make_distiller(favoured=0)
    attacks = count_calls(distiller.terms['loss_bss'].attack, 'run')
    questions = count_calls(distiller.teacher, 'logits')
    batch = make_batch([0] * 8)
    distiller.loss(*batch)
    assert len(attacks) == 1
    distiller.terms['loss_bss'].loss_weight = 0.0
    questions.clear()
    losses = distiller.loss(*batch)
    assert len(attacks) == 1
    assert len(questions) == 1, 'once for the clean batch'
    assert set(losses) == {'loss_cls', 'loss_kd', 'loss_bss', *STATISTICS}
    assert all(losses[name] == 0 for name in ('loss_bss', *STATISTICS))


def test_with_all_weights_0_the_teacher_is_not_asked(make_distiller, make_batch, count_calls):
    distiller = make_distiller(favoured=0)
    questions = count_calls(distiller.teacher, 'logits')
    for name in ('loss_kd', 'loss_bss'):
        distiller.loss_modules[name].loss_weight = 0.0
    losses = distiller.loss(*make_batch([0] * 8))
    assert {name for name, value in losses.items() if value != 0} == {'loss_cls'}
    assert questions == []


def test_boundary_loss_works_without_clean_distillation(make_distiller, make_batch):
    distiller = make_distiller(favoured=0, losses=None)
    losses = distiller.loss(*make_batch([0] * 8))
    assert set(losses) == {'loss_cls', 'loss_bss', *STATISTICS}
    assert losses['bss_samples'] == 8


def test_without_base_samples_the_loss_is_zero_and_the_student_still_learns(
    make_distiller, make_teacher, make_batch
):
    distiller = make_distiller(teacher=make_teacher(favoured=0), favoured=1)
    losses = distiller.loss(*make_batch([2] * 8))
    assert losses['loss_bss'] == 0
    assert losses['bss_samples'] == 0
    assert all(value.isfinite() for value in losses.values())
    total, _ = distiller.parse_losses(losses)
    total.backward()
    assert distiller.head.fc.weight.grad.abs().sum() > 0


def test_a_single_base_sample_is_no_trouble(make_distiller, make_batch):
    distiller = make_distiller(favoured=0, boundary=all_attacked(num_steps=2))
    losses = distiller.loss(*make_batch([0, 1, 1, 1]))
    assert losses['bss_samples'] == 1
    assert losses['loss_bss'].isfinite()


def test_a_saturated_teacher_gives_no_nan(make_distiller, make_batch):
    distiller = make_distiller(favoured=0, boundary=all_attacked(num_steps=3))
    with torch.no_grad():
        distiller.teacher.network.head.fc.weight.zero_()  # the gradient of the margin vanishes
        distiller.teacher.network.head.fc.bias[0] = 1e4
    losses = distiller.loss(*make_batch([0] * 8))
    assert losses['bss_samples'] == 8
    assert losses['bss_not_crossed'] == 1
    assert all(value.isfinite() for value in losses.values())


def test_two_classes_are_enough(make_distiller, make_teacher, make_batch, resnet_config):
    config = resnet_config(num_classes=2)
    distiller = make_distiller(
        config, make_teacher(config, favoured=0), favoured=0, boundary=all_attacked(num_steps=2)
    )
    losses = distiller.loss(*make_batch([0] * 4))
    assert losses['bss_samples'] == 4
    assert losses['bss_third_class'] == 0


def test_at_most_so_many_base_samples_are_attacked(make_distiller, make_batch):
    distiller = make_distiller(favoured=0)
    assert distiller.loss(*make_batch([0] * 5))['bss_samples'] == 5
    assert distiller.loss(*make_batch([0] * 30))['bss_samples'] == 8


def test_works_under_autocast(make_distiller, make_batch):
    distiller = make_distiller(favoured=0, boundary=all_attacked(num_steps=3))
    with torch.autocast('cpu', torch.bfloat16):
        losses = distiller.loss(*make_batch([0] * 8))
    assert losses['bss_samples'] == 8
    assert losses['loss_bss'] > 0
    total, _ = distiller.parse_losses(losses)
    total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in distiller.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_works_in_another_precision(make_distiller, make_batch, dtype):
    distiller = make_distiller(favoured=0, boundary=all_attacked(num_steps=3)).to(dtype)
    inputs, samples = make_batch([0] * 8)
    losses = distiller.loss(inputs.to(dtype), samples)
    assert losses['bss_samples'] == 8
    assert losses['loss_bss'] > 0


def test_works_in_a_training_step_after_which_no_graph_is_alive(make_distiller, resnet_config):
    student = resnet_config(data_preprocessor=dict(num_classes=10, mean=[77.9], std=[95.9]))
    distiller = make_distiller(student, favoured=0)
    optimizer = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.01))
    data = dict(
        inputs=torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8),
        data_samples=[DataSample().set_gt_label(0) for _ in range(8)],
    )
    for _ in range(2):
        log = distiller.train_step(data, optimizer)
        assert set(log) == {'loss', 'loss_cls', 'loss_kd', 'loss_bss', *STATISTICS}
        assert not any(log[name].requires_grad for name in STATISTICS)


def test_samples_stay_within_the_bounds_where_the_other_normalisation_rounds(
    make_distiller, make_teacher, make_batch, monkeypatch, resnet_config
):
    student = resnet_config(data_preprocessor=dict(mean=[100.0], std=[50.0]))
    config = resnet_config(data_preprocessor=dict(mean=[0.0], std=[255.0]))
    distiller = make_distiller(
        student, make_teacher(config, favoured=0), favoured=0, boundary=all_attacked(num_steps=1)
    )
    calls = capture_attack(distiller, monkeypatch)
    inputs, samples = make_batch([0] * 8)
    distiller.loss(inputs.clamp(-2.0, 3.1) * (1 + 1e-6), samples)
    assert calls[0][0].min() >= 0
    assert calls[0][0].max() <= 1


def test_a_second_weight_is_refused(make_distiller):
    loss = dict(type='mmbss.KDLoss', loss_weight=2.0)
    with pytest.raises(ValueError, match='set loss_weight of the term'):
        make_distiller(boundary=dict(all_attacked(), loss=loss))


def test_bounds_in_the_wrong_order_are_refused(make_distiller):
    with pytest.raises(ValueError, match=r'bounds must be \(lowest, highest\)'):
        make_distiller(boundary=dict(all_attacked(), bounds=(1.0, -1.0)))
