"""Distillation of features by a Distiller; the losses alone are tested in tests/losses."""

import copy
import gc
import weakref

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper

from mmbss.losses import AttentionLoss, attention_loss, attention_map, hint_loss
from mmbss.teachers.classifiers import plain_classifier
from mmbss.teachers.features import outputs_of

PAIRS = [('backbone.layer2:input', 'backbone.layer2'), ('backbone.layer3', 'neck.gap')]
KD = dict(type='mmbss.KDLoss', temperature=3.0, loss_weight=4.0)
HINT = dict(
    type='mmbss.HintLoss',
    student='backbone.layer2',
    teacher='backbone.layer2',
    student_channels=4,
    teacher_channels=8,
)
ATTENTION = dict(
    type='mmbss.AttentionLoss',
    student=['backbone.layer1', 'backbone.layer3'],
    teacher=['backbone.layer1', 'backbone.layer3'],
)
FSP = dict(type='mmbss.FSPLoss', student=PAIRS, teacher=PAIRS)


@pytest.fixture
def make(make_distiller, make_teacher, resnet_config):
    """A ResNet8 that learns from a ResNet14 of twice its width."""

    def make(teacher=None, favoured=None, boundary=None, **losses):
        teacher = teacher or make_teacher(resnet_config(depth=14, width=4), favoured=favoured)
        losses = losses or dict(loss_kd=KD, loss_hint=HINT, loss_at=ATTENTION)
        return make_distiller(None, teacher, 'mmbss.Distiller', favoured, boundary, losses=losses)

    return make


@pytest.fixture
def step(make_batch):
    """One training step; gives the log."""

    def step(distiller, stored=True):
        distiller.stores_term_weights = stored
        inputs, data_samples = make_batch(range(6))
        optimizer = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.1))
        return distiller.train_step(dict(inputs=inputs, data_samples=data_samples), optimizer)

    return step


# ---------------------------------------------------------------- what is computed


def test_losses_are_those_of_the_layers_that_the_config_names(make, make_batch):
    distiller = make()
    inputs, samples = make_batch(range(8))
    losses = distiller.loss(inputs, samples)
    assert set(losses) == {'loss_cls', 'loss_kd', 'loss_hint', 'loss_at'}
    student, teacher = distiller.backbone, distiller.teacher.network.backbone
    outputs = []
    for backbone in (student, teacher):
        with (
            outputs_of(backbone.layer1) as (first, _),
            outputs_of(backbone.layer2) as (second, _),
        ):
            last = backbone(inputs)[-1]
        outputs.append((first[0], second[0], last))
    (s1, s2, s3), (t1, t2, t3) = outputs
    regressor = distiller.terms['loss_hint'].regressor
    hint = hint_loss(regressor(s2.movedim(1, -1)), t2.movedim(1, -1))
    torch.testing.assert_close(losses['loss_hint'], hint)
    attention = sum(
        attention_loss(attention_map(s), attention_map(t)) for s, t in ((s1, t1), (s3, t3))
    )
    torch.testing.assert_close(losses['loss_at'], 1000 * attention)


def test_gradients_reach_student_and_regressor_but_not_the_teacher(make, make_batch):
    distiller = make(loss_hint=HINT)
    loss = distiller.loss(*make_batch(range(8)))['loss_hint']
    loss.backward()
    reached = {name for name, p in distiller.named_parameters() if p.grad is not None}
    assert {name.split('.')[1] for name in reached} == {
        'conv1', 'bn1', 'layer1', 'layer2', 'loss_hint'
    }  # fmt: skip
    assert all(p.grad is None for p in distiller.teacher.parameters())


def test_the_networks_run_once(make, make_batch, count_calls):
    distiller = make()
    student = count_calls(distiller.backbone, 'forward')
    teacher = count_calls(distiller.teacher.network.backbone, 'forward')
    distiller.loss(*make_batch(range(8)))
    assert len(student) == len(teacher) == 1


def test_without_a_weight_no_work_is_done(make, make_batch, count_calls):
    distiller = make(loss_hint=HINT, loss_at=ATTENTION)
    for loss in distiller.terms.values():
        loss.loss_weight = 0.0
    questions = count_calls(distiller.teacher, 'logits')
    compared = count_calls(AttentionLoss, 'compare')
    losses = distiller.loss(*make_batch(range(8)))
    assert questions == compared == []
    assert {name for name, value in losses.items() if value != 0} == {'loss_cls'}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in distiller.parameters()), 'DDP waits for each of them'


def test_only_the_features_of_weighted_losses_are_recorded(make, make_batch, monkeypatch):
    distiller = make()
    distiller.terms['loss_at'].loss_weight = 0.0
    recorded = []
    for recorder in (distiller.recorder, distiller.teacher.recorder):
        original = recorder.recording
        monkeypatch.setattr(
            recorder, 'recording', lambda paths, run=original: recorded.append(paths) or run(paths)
        )
    distiller.loss(*make_batch(range(8)))
    assert recorded == [['backbone.layer2'], ['backbone.layer2']]


def test_no_feature_is_kept(make, make_batch, monkeypatch):
    distiller = make(loss_at=ATTENTION)
    seen = []

    def compare(self, student_features, teacher_features, labels):
        seen.extend(weakref.ref(feature) for feature in student_features + teacher_features)
        return student_features[0].sum()

    monkeypatch.setattr(AttentionLoss, 'compare', compare)
    losses = distiller.loss(*make_batch(range(8)))
    sum(losses.values()).backward()
    del losses
    gc.collect()
    assert len(seen) == 4
    assert all(feature() is None for feature in seen)


# ---------------------------------------------------------------- with other parts


@pytest.mark.parametrize('candidates', ['both_correct', 'teacher_correct'])
def test_with_bss_the_features_are_those_of_the_clean_batch(
    make, make_batch, boundary_config, candidates
):
    losses = dict(loss_hint=HINT, loss_at=ATTENTION)
    plain = make(favoured=0, **losses)
    boundary = boundary_config(candidates=candidates, train_on='all')
    bss = make(favoured=0, boundary=boundary, **losses)
    bss.__dict__['teacher'] = plain.teacher
    bss.load_state_dict(plain.state_dict())
    bss.terms.load_weights(plain.terms.weights())
    if (
        candidates == 'teacher_correct'
    ):  # the clean features would be others in a batch of their own
        for model in (plain, bss):
            model.eval()
    batch = make_batch([0] * 8)
    values = bss.loss(*batch)
    assert values['bss_samples'] == 8
    assert values['loss_bss'] > 0
    expected = plain.loss(*batch)
    for name in losses:
        torch.testing.assert_close(values[name], expected[name])


def test_fsp_trains_with_bss(make_distiller, step):
    distiller = make_distiller(losses=dict(loss_kd=KD, loss_fsp=FSP))
    assert {'loss_cls', 'loss_kd', 'loss_fsp', 'loss_bss'} <= set(step(distiller))


def test_the_boundary_takes_losses_on_logits_alone(make_distiller, boundary_config):
    with pytest.raises(ValueError, match=r'loss: HintLoss is no .*losses.DistillationLoss'):
        make_distiller(boundary=boundary_config(loss=HINT))


@pytest.mark.parametrize(
    'settings',
    [
        dict(fuse_bn=True),
        dict(precision='bfloat16'),
        dict(fuse_bn=True, precision='bfloat16'),
    ],
    ids=str,
)
@pytest.mark.parametrize('channels_last', [False, True])
def test_a_faster_teacher_gives_the_same_losses(
    make_distiller, make_teacher, make_batch, resnet_config, settings, channels_last
):
    teacher = make_teacher(resnet_config(depth=14, width=4))
    losses = dict(loss_hint=HINT, loss_at=ATTENTION)
    plain = make_distiller(teacher=teacher, type='mmbss.Distiller', losses=losses)
    faster = make_distiller(
        teacher=dict(teacher, acceleration=dict(settings, channels_last=channels_last)),
        type='mmbss.Distiller',
        losses=losses,
        acceleration=dict(channels_last=channels_last),
    )
    faster.load_state_dict(plain.state_dict())
    faster.terms.load_weights(plain.terms.weights())
    batch = make_batch(range(8))
    expected, values = plain.loss(*batch), faster.loss(*batch)
    tolerance = 0.05 if 'precision' in settings else 1e-4
    for name in losses:
        assert values[name].dtype is torch.float32
        torch.testing.assert_close(values[name], expected[name], rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize('path', ['backbone.layer1.0.conv1', 'backbone.layer1.0.bn1:input'])
def test_what_a_fused_teacher_does_not_compute_is_refused(
    make_distiller, make_teacher, make_batch, path
):
    hint = dict(type='mmbss.HintLoss', student=path, teacher=path)
    make_distiller(losses=dict(loss_hint=hint)).loss(*make_batch(range(4)))
    with pytest.raises(ValueError, match=f"fold a BatchNorm into the teacher's {path}: name the"):
        make_distiller(
            teacher=make_teacher(acceleration=dict(fuse_bn=True)), losses=dict(loss_hint=hint)
        )


def test_a_fused_batchnorm_puts_out_the_same(make_distiller, make_teacher, make_batch):
    path = 'backbone.layer1.0.bn1'
    hint = dict(type='mmbss.HintLoss', student=path, teacher=path)
    teacher = make_teacher()
    plain, fused = (
        make_distiller(
            teacher=dict(teacher, acceleration=dict(fuse_bn=fuse_bn)),
            losses=dict(loss_hint=hint),
            type='mmbss.Distiller',
        )
        for fuse_bn in (False, True)
    )
    fused.load_state_dict(plain.state_dict())
    batch = make_batch(range(8))
    torch.testing.assert_close(fused.loss(*batch)['loss_hint'], plain.loss(*batch)['loss_hint'])


def test_the_layers_are_hooked_before_the_networks_can_be_compiled(make):
    distiller = make(loss_hint=HINT)
    for network in (distiller, distiller.teacher.network):
        assert len(network.backbone.layer2._forward_hooks) == 1


def test_losses_are_float32_under_autocast(make, make_batch):
    distiller = make()
    batch = make_batch(range(8))
    with torch.autocast('cpu', torch.bfloat16):
        losses = distiller.loss(*batch)
    expected = distiller.loss(*batch)
    for name in ('loss_hint', 'loss_at'):
        assert losses[name].dtype is torch.float32
        torch.testing.assert_close(losses[name], expected[name], rtol=0.05, atol=0.01)
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in distiller.parameters())


def test_the_teacher_gets_its_own_normalisation(make, make_teacher, make_batch, resnet_config):
    config = resnet_config(depth=14, width=4, data_preprocessor=dict(mean=[90.0], std=[30.0]))
    distiller = make(teacher=make_teacher(config), loss_hint=HINT)
    inputs, samples = make_batch(range(8))
    value = distiller.loss(inputs, samples)['loss_hint']
    teacher = distiller.teacher
    assert not teacher.input_map.is_identity
    with (
        outputs_of(teacher.network.backbone.layer2) as (theirs, _),
        outputs_of(distiller.backbone.layer2) as (ours, _),
    ):
        teacher.network(teacher.from_student(inputs))
        distiller.extract_feat(inputs)
    regressor = distiller.terms['loss_hint'].regressor
    expected = hint_loss(regressor(ours[0].movedim(1, -1)), theirs[0].movedim(1, -1))
    torch.testing.assert_close(value, expected)


def test_features_are_not_taken_from_stored_logits(make, make_batch, monkeypatch):
    distiller, batch = make(loss_kd=KD, loss_at=ATTENTION), make_batch(range(4))
    expected = distiller.loss(*batch)
    monkeypatch.setattr(distiller.teacher, 'cache', object())
    assert distiller.loss(*batch)['loss_at'] == expected['loss_at']


# ---------------------------------------------------------------- other networks


VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=16,
    patch_size=4,
)
MAPS = ['backbone.layer2']


def image_classifier(backbone, channels):
    neck = None if backbone is VIT else dict(type='GlobalAveragePooling')
    kind = 'VisionTransformerClsHead' if backbone is VIT else 'LinearClsHead'
    head = dict(type=kind, num_classes=10, in_channels=channels)
    return dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)


RESNET = image_classifier(dict(type='ResNet_CIFAR', depth=18, base_channels=8), 64)


@pytest.mark.parametrize(
    ('teacher', 'student', 'loss'),
    [
        (
            RESNET,
            None,
            dict(
                type='mmbss.HintLoss',
                student='head.fc:input',
                teacher='head.fc:input',
                student_channels=8,
                teacher_channels=64,
            ),
        ),
        (RESNET, None, dict(type='mmbss.AttentionLoss', student=MAPS, teacher=MAPS)),
        (
            image_classifier(VIT, 16),
            image_classifier(VIT, 16),
            dict(type='mmbss.HintLoss', student='backbone.layers.0', teacher='backbone.layers.1'),
        ),
        (
            image_classifier(VIT, 16),
            None,
            dict(
                type='mmbss.AttentionLoss',
                student=MAPS,
                teacher=['backbone.layers.1'],
                num_extra_tokens=1,
            ),
        ),
    ],
    ids=['vectors', 'maps', 'tokens', 'tokens-to-maps'],
)
def test_mmpretrains_networks_teach(
    make_distiller, make_teacher, make_batch, resnet_config, teacher, student, loss
):
    distiller = make_distiller(
        copy.deepcopy(student) or resnet_config(in_channels=3),
        make_teacher(copy.deepcopy(teacher)),
        type='mmbss.Distiller',
        losses=dict(loss_feature=loss),
    )
    losses = distiller.loss(*make_batch(range(4), channels=3, size=16))
    assert losses['loss_feature'] > 0
    losses['loss_feature'].backward()
    assert any(p.grad is not None and p.grad.any() for p in distiller.backbone.parameters())


# ---------------------------------------------------------------- a plain student


def test_the_checkpoint_is_a_plain_student(make, build_model, resnet_config):
    distiller, plain = make(), build_model(resnet_config())
    assert list(distiller.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(distiller.state_dict(), strict=True)
    distiller.load_state_dict(plain.state_dict(), strict=True)


def test_a_moving_average_has_the_keys_of_a_plain_student(make, build_model, resnet_config, step):
    distiller = make()
    average = ExponentialMovingAverage(distiller)
    step(distiller)
    average.update_parameters(distiller)
    assert list(average.module.state_dict()) == list(build_model(resnet_config()).state_dict())
    assert average.module.teacher is distiller.teacher
    assert average.module.recorder.model is average.module


def test_the_config_of_a_distiller_of_features_stands_for_its_student(resnet_config):
    config = dict(resnet_config(), type='mmbss.Distiller', teacher={}, losses=dict(loss_hint=HINT))
    assert plain_classifier(config) == dict(resnet_config(), type='mmpretrain.ImageClassifier')


def test_weights_that_nobody_stores_are_refused_before_the_first_update(make, step):
    distiller = make()
    before = copy.deepcopy(list(distiller.parameters()))
    with pytest.raises(ValueError, match=r"weights of loss_hint for a resume: .*'mmbss.BSSHook'"):
        step(distiller, stored=False)
    assert all(map(torch.equal, before, distiller.parameters()))
    step(make(loss_at=ATTENTION), stored=False)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(student='backbone.stage2'), "the student has no module 'backbone.stage2', did you"),
        (
            dict(teacher='backbone.layer2.5'),
            "teacher has no module 'backbone.layer2.5', .*layer2.1",
        ),
        (dict(teacher_channels=None), 'give both student_channels and teacher_channels'),
        (dict(layer='backbone.layer2'), r"loss_hint \(HintLoss\) has no key 'layer'"),
    ],
)
def test_wrong_settings_are_refused_when_the_model_is_built(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(loss_hint=dict(HINT, **change))


@pytest.mark.parametrize(
    ('loss', 'message'),
    [
        (dict(HINT, student_channels=6), 'set student_channels=4 and teacher_channels=8$'),
        (dict(HINT, student='backbone'), "the student's backbone is a tuple, .* one of its parts"),
        (FSP, r'layer2:input of the student is \(N, 2, 8, 8\), .*equally many channels'),
    ],
)
def test_features_that_do_not_fit_are_refused_before_the_first_update(make, step, loss, message):
    distiller = make(loss_feature=loss)
    before = copy.deepcopy(list(distiller.parameters()))
    with pytest.raises(ValueError, match=message):
        step(distiller)
    assert all(map(torch.equal, before, distiller.parameters()))
