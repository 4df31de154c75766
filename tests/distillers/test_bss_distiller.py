import shutil

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample

from mmbss.distillers.classifiers import load_model_config
from mmbss.losses import kd_loss

STATISTICS = {
    'bss_samples',
    'bss_accepted',
    'bss_third_class',
    'bss_not_crossed',
    'bss_steps',
    'bss_gap',
}


def linear_head(width, num_classes=10):
    return dict(type='LinearClsHead', num_classes=num_classes, in_channels=width)


TRANSFORMER = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
CLASSIFIERS = dict(
    resnet18=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=linear_head(64),
    ),
    mobilenet_v2=dict(
        type='ImageClassifier',
        backbone=dict(type='MobileNetV2', widen_factor=0.25),
        neck=dict(type='GlobalAveragePooling'),
        head=linear_head(1280),
    ),
    vit=dict(
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', arch=TRANSFORMER, img_size=32, patch_size=8),
        head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=16),
    ),
    deit=dict(
        type='ImageClassifier',
        backbone=dict(
            type='DistilledVisionTransformer', arch=TRANSFORMER, img_size=32, patch_size=8
        ),
        head=dict(type='DeiTClsHead', num_classes=10, in_channels=16),
    ),
    swin=dict(
        type='ImageClassifier',
        backbone=dict(
            type='SwinTransformer',
            arch=dict(embed_dims=16, depths=[2, 2], num_heads=[1, 2]),
            img_size=32,
            window_size=4,
            out_indices=(1,),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=linear_head(32),
    ),
    convnext=dict(
        type='ImageClassifier',
        backbone=dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16])),
        head=linear_head(16),
    ),
)


@pytest.fixture
def small_colour(resnet_config):
    return resnet_config(in_channels=3)


# ---------------------------------------------------------------- any classifier in both roles


def check_training_step(distiller, batch):
    losses = distiller.loss(*batch)
    assert set(losses) == {'loss_cls', 'loss_kd', 'loss_bss', *STATISTICS}
    assert losses['bss_samples'] == 8
    assert all(value.isfinite() for value in losses.values())
    loss, _ = distiller.parse_losses(losses)
    loss.backward()
    gradients = [parameter.grad for parameter in distiller.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_any_classifier_is_a_student(
    name, make_distiller, make_teacher, make_batch, build_model, small_colour
):
    teacher = make_teacher(small_colour, favoured=0)
    distiller = make_distiller(
        CLASSIFIERS[name], teacher, favoured=0, boundary=all_attacked(num_steps=2)
    )
    check_training_step(distiller, make_batch([0] * 10, channels=3, size=32))
    plain = build_model(CLASSIFIERS[name])
    assert list(plain.state_dict()) == list(distiller.state_dict())


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_any_classifier_is_a_teacher(name, make_distiller, make_teacher, make_batch, small_colour):
    teacher = make_teacher(CLASSIFIERS[name], favoured=0)
    distiller = make_distiller(
        small_colour, teacher, favoured=0, boundary=all_attacked(num_steps=2)
    )
    check_training_step(distiller, make_batch([0] * 10, channels=3, size=32))


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_any_teacher_takes_a_batch_without_base_samples(
    name, make_distiller, make_teacher, make_batch, small_colour
):
    teacher = make_teacher(CLASSIFIERS[name], favoured=0)
    distiller = make_distiller(small_colour, teacher, favoured=1)
    losses = distiller.loss(*make_batch([0] * 4, channels=3, size=32))
    assert losses['bss_samples'] == 0
    assert losses['loss_bss'] == 0


def all_attacked(**attack):
    return dict(
        attack=dict(type='mmbss.BSSAttack', **attack),
        num_base_samples=8,
        loss=dict(type='mmbss.KDLoss', temperature=3.0, loss_weight=2.0),
        train_on='all',
    )


# ---------------------------------------------------------------- what one step computes


@pytest.fixture
def trained_pair(make_distiller, digits_teacher, resnet_config, digits_batch):
    """A trained teacher, and a student that is its noisy twin: both are right on most digits."""

    def make(**boundary):
        student = resnet_config(width=8, data_preprocessor=dict(mean=[77.9], std=[95.9]))
        settings = dict(all_attacked(num_steps=10, step_size=0.3), num_base_samples=32)
        distiller = make_distiller(student, digits_teacher, boundary=dict(settings, **boundary))
        distiller.load_state_dict(distiller.teacher.network.state_dict())
        with torch.no_grad():
            distiller.head.fc.weight += 0.1 * torch.randn_like(distiller.head.fc.weight)
        return distiller, digits_batch

    return make


def capture_attack(distiller, monkeypatch):
    """Record what the attack is given and what it gives."""
    calls = []
    run = distiller.attack.run

    def recorded(model, samples, base, target, bounds):
        result = run(model, samples, base, target, bounds)
        calls.append((samples, base, target, bounds, result))
        return result

    monkeypatch.setattr(distiller.attack, 'run', recorded)
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


# ---------------------------------------------------------------- all target classes


@pytest.mark.parametrize('train_on', ['accepted', 'all'])
def test_all_target_classes_are_weighted_by_their_probability(trained_pair, monkeypatch, train_on):
    attack = dict(type='mmbss.BSSAttack', num_steps=2, step_size=0.3)
    distiller, batch = trained_pair(
        target_class='all', num_base_samples=6, train_on=train_on, attack=attack
    )
    calls = capture_attack(distiller, monkeypatch)
    losses = distiller.loss(*batch)
    ((samples, base, target, _, result),) = calls
    assert len(samples) == 6 * 9
    assert losses['bss_samples'] == 6
    kept = result.success if train_on == 'accepted' else torch.ones(54, dtype=torch.bool)
    assert train_on == 'all' or 1 < kept.sum() < 54, 'the case must hold rejected samples'
    q = distiller.teacher.logits(samples).softmax(dim=1)
    student_logits = distiller(result.samples[kept])
    total, weights = 0.0, 0.0
    for row, logits in zip(kept.nonzero().flatten(), student_logits, strict=True):
        p_k = q[row, target[row]] / (1 - q[row, base[row]])
        total += p_k * 2 * kd_loss(logits[None], result.logits[row][None], 3.0)
        weights += p_k
    if train_on == 'all':
        torch.testing.assert_close(weights, torch.tensor(6.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(losses['loss_bss'], total / weights, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- BatchNorm of the student


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


# ---------------------------------------------------------------- in a real run


@pytest.mark.parametrize(
    'changes',
    [
        dict(base_samples='random'),
        dict(base_samples='all'),
        dict(target_class='uniform'),
        dict(target_class='second_most_probable'),
        dict(target_class='all', min_target_probability=0.05),
        dict(train_on='all', loss=dict(type='mmbss.DKDLoss')),
        dict(batch_norm='frozen_statistics', loss=dict(type='mmbss.DISTLoss')),
        dict(batch_norm='joint', loss=dict(type='mmbss.KDLoss', standardise_logits=True)),
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())).split('-{')[0],
)
def test_each_choice_trains(bss_settings, tmp_path, boundary_config, make_runner, changes):
    model = bss_settings(tmp_path)['model']
    model['boundary'] = boundary_config(**changes)
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


# ---------------------------------------------------------------- what is left out


def test_with_weight_0_no_attack_runs(make_distiller, make_batch, count_calls):
    distiller = make_distiller(favoured=0)
    attacks = count_calls(distiller.attack, 'run')
    questions = count_calls(distiller.teacher, 'logits')
    batch = make_batch([0] * 8)
    distiller.loss(*batch)
    assert len(attacks) == 1
    distiller.boundary_loss.loss_weight = 0.0
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


# ---------------------------------------------------------------- refused labels


def test_configs_that_mix_labels_are_refused(make_distiller, resnet_config):
    student = resnet_config(
        data_preprocessor=dict(num_classes=10),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    with pytest.raises(ValueError, match=r'remove train_cfg\.augments'):
        make_distiller(student)


def test_soft_labels_of_a_batch_are_refused(make_distiller, make_batch):
    distiller = make_distiller()
    inputs, samples = make_batch([0] * 4)
    for sample in samples:
        sample.set_gt_score(torch.full((10,), 0.1))
    with pytest.raises(ValueError, match='one hard label a sample'):
        distiller.loss(inputs, samples)


def test_several_labels_a_sample_are_refused(make_distiller, make_batch):
    distiller = make_distiller()
    inputs, samples = make_batch([0] * 4)
    for sample in samples:
        sample.set_gt_score(torch.tensor([1.0, 1.0] + 8 * [0.0]))
    with pytest.raises(ValueError, match='one hard label a sample'):
        distiller.loss(inputs, samples)


def test_one_hot_scores_are_hard_labels(make_distiller, make_batch):
    distiller = make_distiller(favoured=3)
    inputs, samples = make_batch([0] * 4)
    for sample in samples:
        sample.set_gt_score(torch.eye(10)[3])
    assert distiller.loss(inputs, samples)['bss_samples'] == 4


def test_multi_label_head_is_refused(make_distiller, resnet_config):
    student = resnet_config()
    student['head'] = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=8)
    with pytest.raises(ValueError, match='the student has a MultiLabelLinearClsHead'):
        make_distiller(student)


# ---------------------------------------------------------------- refused configs


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_base_samples=0), 'num_base_samples must be at least 1, got 0'),
        (dict(train_on='some'), "train_on must be 'accepted' or 'all', got 'some'"),
        (
            dict(batch_norm='shared'),
            "batch_norm must be 'own', 'joint' or 'frozen_statistics', got 'shared'",
        ),
        (dict(bounds=(1.0, -1.0)), r'bounds must be \(lowest, highest\)'),
        (dict(attack=dict(type='mmbss.BSSAttack', num_steps=0)), 'num_steps must be at least 1'),
        (dict(attack=dict(type='mmbss.BSSAttack', step_size=0.0)), 'step_size must be positive'),
        (dict(attack=dict(type='mmbss.BSSAttack', overshoot=-1.0)), 'overshoot must not be neg'),
        (dict(attack=dict(type='mmbss.BSSAttack', step='big')), 'step must be one of'),
        (dict(loss=dict(type='mmbss.KDLoss', temperature=0.0)), 'temperature must be positive'),
        (dict(loss=dict(type='mmpretrain.CrossEntropyLoss')), 'is no distillation loss'),
    ],
)
def test_values_out_of_range_are_refused(make_distiller, boundary_config, changes, message):
    with pytest.raises(ValueError, match=message):
        make_distiller(boundary=boundary_config(**changes))


@pytest.mark.parametrize(
    ('changes', 'name'),
    [
        (dict(num_base_sample=4), 'num_base_sample'),
        (dict(target_clas='all'), 'target_clas'),
        (dict(attack=dict(type='mmbss.BSSAttack', steps=4)), 'steps'),
        (dict(loss=dict(type='mmbss.KDLoss', temprature=4)), 'temprature'),
    ],
)
def test_misspelt_keys_are_named(make_distiller, boundary_config, changes, name):
    message = f"has no key '{name}', did you mean '.*{name[:4]}"
    with pytest.raises(ValueError, match=message):
        make_distiller(boundary=boundary_config(**changes))


def test_unknown_attack_is_named(make_distiller, boundary_config):
    with pytest.raises(KeyError, match=r'NoSuchAttack is not in the mmbss::attack registry'):
        make_distiller(boundary=boundary_config(attack=dict(type='mmbss.NoSuchAttack')))


@pytest.mark.parametrize('missing', ['attack', 'loss'])
def test_missing_parts_are_named(make_distiller, boundary_config, missing):
    boundary = boundary_config()
    boundary.pop(missing)
    with pytest.raises(ValueError, match=f"boundary lacks '{missing}'"):
        make_distiller(boundary=boundary)


def test_missing_and_misspelt_boundary_are_told_apart(make_distiller):
    with pytest.raises(ValueError, match="boundary lacks 'attack', 'loss'"):
        make_distiller(boundary=None)
    with pytest.raises(ValueError, match="model has no key 'boundry', did you mean 'boundary'"):
        make_distiller(boundry=dict())


def test_misspelt_teacher_key_is_named(make_distiller, make_teacher):
    teacher = make_teacher()
    teacher['chekpoint'] = teacher.pop('checkpoint')
    with pytest.raises(ValueError, match="teacher has no key 'chekpoint', did you mean 'checkpoi"):
        make_distiller(teacher=teacher)


def test_label_beyond_the_classes_is_refused_with_the_key_to_set(make_distiller, make_batch):
    distiller = make_distiller(favoured=0)
    with pytest.raises(ValueError, match=r'beyond the 10 classes .* set head.num_classes'):
        distiller.loss(*make_batch([0, 10]))


@pytest.mark.skipif(shutil.which('c++') is None, reason='torch.compile needs a C++ compiler')
@pytest.mark.parametrize('whose', ['both', "the teacher's"])
def test_compiled_backbones_give_the_same_losses_and_keys(
    make_distiller, make_teacher, make_batch, whose
):
    teacher = make_teacher(favoured=0)
    plain = make_distiller(teacher=teacher, favoured=0, type='mmbss.Distiller')
    if whose == 'both':
        settings = dict(teacher=teacher, compile=True)
    else:
        settings = dict(teacher=dict(teacher, compile=True))
    compiled = make_distiller(favoured=0, type='mmbss.Distiller', **settings)
    is_compiled = [
        network._compiled_call_impl is not None
        for network in (compiled.backbone, compiled.teacher.network.backbone)
    ]
    assert is_compiled == [whose == 'both', True]
    assert list(compiled.state_dict()) == list(plain.state_dict())
    compiled.load_state_dict(plain.state_dict())
    batch = make_batch([0] * 8)
    expected, losses = plain.loss(*batch), compiled.loss(*batch)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4)


def test_a_distilled_student_can_teach(make_distiller, make_teacher, resnet_config, tmp_path):
    first = make_distiller()
    torch.save(first.state_dict(), tmp_path / 'student.pth')
    config = dict(resnet_config(), type='mmbss.BSSDistiller', teacher={}, losses={}, boundary={})
    second = make_distiller(teacher=dict(config=config, checkpoint=str(tmp_path / 'student.pth')))
    assert 'teacher' not in load_model_config(config)
    inputs = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(second.teacher(inputs), first.eval()(inputs))


# ---------------------------------------------------------------- the clean pass is reused


@pytest.fixture
def images(make_batch):
    """Make a batch of images of class 0 that are not negative, as pixels are."""

    def make(size):
        inputs, data_samples = make_batch([0] * size, channels=3, size=32)
        return inputs.abs(), data_samples

    return make


@pytest.fixture
def reusing(make_distiller, small_colour, boundary_config, make_teacher):
    """Two equal distillers, the second of which records the clean pass of its teacher."""

    def make(teacher=None, boundary=None, **changes):
        teacher = make_teacher(teacher or small_colour, favoured=0)
        plain, reuse = (
            make_distiller(
                student=small_colour,
                teacher=teacher,
                favoured=0,
                boundary=boundary_config(reuse_clean_pass=reuse, **(boundary or {})),
                **changes,
            )
            for reuse in (False, True)
        )
        reuse.load_state_dict(plain.state_dict())
        for distiller in (plain, reuse):
            # rounding differs with the size of a batch, and each step of an attack amplifies it
            distiller.teacher.network.double()
        return plain, reuse

    return make


def check_same_losses(plain, reuse, batch):
    losses = []
    for distiller in (plain, reuse):
        torch.manual_seed(0)
        losses.append(distiller.loss(*batch))
    assert losses[0].keys() == losses[1].keys()
    assert losses[0]['bss_samples'] > 0
    for name, value in losses[0].items():
        assert torch.allclose(value, losses[1][name], atol=1e-5), name


@pytest.mark.parametrize('classifier', ['resnet18', 'mobilenet_v2', 'vit', 'convnext'])
def test_losses_are_the_same_when_the_clean_pass_is_reused(reusing, images, classifier):
    plain, reuse = reusing(teacher=CLASSIFIERS[classifier])
    check_same_losses(plain, reuse, images(10))


@pytest.mark.parametrize(
    'boundary',
    [
        dict(target_class='all', min_target_probability=0.05),
        dict(batch_norm='joint'),
        dict(attack=dict(type='mmbss.BSSAttack', step='newton', step_size=1.0)),
        dict(attack=dict(type='mmbss.BSSAttack', step='closest', overshoot=0.01)),
        dict(attack=dict(type='mmbss.FGSMAttack', radius=4.0)),
    ],
    ids=['all classes', 'joint', 'newton', 'closest', 'fgsm'],
)
def test_the_clean_pass_is_reused_by_every_search(reusing, images, boundary):
    plain, reuse = reusing(boundary=boundary)
    check_same_losses(plain, reuse, images(10))


def test_the_clean_pass_is_reused_by_a_teacher_of_another_normalisation(
    reusing, images, small_colour
):
    teacher = dict(small_colour, data_preprocessor=dict(mean=[90.0] * 3, std=[70.0] * 3))
    plain, reuse = reusing(teacher=teacher)
    check_same_losses(plain, reuse, images(10))


def test_the_attack_does_not_ask_about_its_base_samples_again(reusing, images, count_calls):
    batch = images(10)
    plain, reuse = reusing()
    reuse.loss(*batch)  # traces
    asked = []
    for distiller in (plain, reuse):
        calls = count_calls(distiller.teacher.network, 'forward')
        torch.manual_seed(0)
        distiller.loss(*batch)
        asked.append([len(call[0]) for call in calls])
    samples = min(8, len(batch[1]))
    assert asked[0][:2] == [10, samples]
    # what follows is answered by the traced graphs too
    assert asked[1] == []


def test_nothing_is_recorded_where_no_attack_follows(reusing, images, count_calls):
    _, reuse = reusing()
    recorded = count_calls(reuse.teacher, 'record')
    reuse.boundary_loss.loss_weight = 0.0
    reuse.loss(*images(4))
    reuse.boundary_loss.loss_weight = 1.0
    reuse.eval().loss(*images(1))  # too few for a batch dimension
    assert not recorded
    reuse.loss(*images(4))
    assert len(recorded) == 1
    assert reuse.recorded is None


def test_the_clean_pass_of_a_compiled_network_is_reused(reusing, images):
    plain, reuse = reusing(compile=True)
    check_same_losses(plain, reuse, images(10))
    (halves,) = reuse.teacher.pass_recorder.traced.values()
    assert 'OptimizedModule' in type(halves.forward).__name__
