import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample

from mmbss.distillers import Distiller
from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss, KDLoss, Term, kd_loss
from mmbss.registry import MODELS


@pytest.fixture
def make_kd(make_distiller):
    def make(*args, **kwargs):
        return make_distiller(*args, type='mmbss.Distiller', **kwargs)

    return make


def test_checkpoint_has_the_keys_of_the_plain_student(make_kd, build_model, resnet_config):
    distiller, plain = make_kd(), build_model(resnet_config())
    assert list(distiller.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(distiller.state_dict(), strict=True)
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(distiller.eval()(inputs), plain.eval()(inputs))


def test_losses_are_the_students_own_and_the_weighted_distillation(make_kd, make_batch):
    distiller = make_kd()
    inputs, samples = make_batch(range(10))
    losses = distiller.loss(inputs, samples)
    logits = distiller(inputs)
    labels = torch.arange(10)
    assert set(losses) == {'loss_cls', 'loss_kd'}
    torch.testing.assert_close(
        losses['loss_cls'], torch.nn.functional.cross_entropy(logits, labels)
    )
    torch.testing.assert_close(
        losses['loss_kd'], 4.0 * kd_loss(logits, distiller.teacher(inputs), 3.0)
    )


def test_other_names_that_the_head_gives_are_kept(make_kd, make_batch, resnet_config):
    config = resnet_config()
    config['head'].update(cal_acc=True, topk=(1,))
    losses = make_kd(config).loss(*make_batch(range(10)))
    assert set(losses) == {'loss_cls', 'loss_kd', 'accuracy_top-1'}


def test_gradients_reach_every_student_weight(make_kd, make_batch):
    distiller = make_kd()
    sum(distiller.loss(*make_batch(range(10))).values()).backward()
    assert all(parameter.grad is not None for parameter in distiller.parameters())


def test_distillation_gradient_differs_from_the_classification_gradient(make_kd, make_batch):
    distiller, batch = make_kd(), make_batch(range(10))
    losses = distiller.loss(*batch)
    weight = distiller.head.fc.weight
    (kd,) = torch.autograd.grad(losses['loss_kd'], weight, retain_graph=True)
    (classification,) = torch.autograd.grad(losses['loss_cls'], weight)
    assert not torch.allclose(kd, classification)


def test_the_student_passes_the_batch_once(make_kd, make_batch, count_calls):
    distiller = make_kd()
    passes = count_calls(distiller.backbone, 'forward')
    distiller.loss(*make_batch(range(4)))
    assert len(passes) == 1


def test_with_weight_0_the_teacher_is_not_asked(make_kd, make_batch, count_calls):
    distiller = make_kd()
    questions = count_calls(distiller.teacher, 'logits')
    batch = make_batch(range(10))
    distiller.loss(*batch)
    assert len(questions) == 1
    distiller.terms['loss_kd'].loss_weight = 0.0
    losses = distiller.loss(*batch)
    assert len(questions) == 1
    assert set(losses) == {'loss_cls', 'loss_kd'}
    assert losses['loss_kd'] == 0


def test_without_losses_it_is_plain_training(make_kd, make_batch):
    assert set(make_kd(losses=None).loss(*make_batch(range(4)))) == {'loss_cls'}


def test_several_losses_are_computed_side_by_side(make_kd, make_batch):
    losses = dict(
        loss_cold=dict(type='mmbss.KDLoss', temperature=1.0),
        loss_hot=dict(type='mmbss.KDLoss', temperature=20.0, scale_by_t2=True),
    )
    distiller = make_kd(losses=losses)
    assert set(distiller.loss(*make_batch(range(4)))) == {'loss_cls', 'loss_cold', 'loss_hot'}
    assert set(distiller.loss_modules) == {'loss_cls', 'loss_cold', 'loss_hot'}


def test_mixed_labels_reach_the_loss_as_the_larger_share(make_kd, make_batch):
    seen = []

    class SeesLabels(DistillationLoss):
        def forward(self, student_logits, teacher_logits, labels):
            seen.append(labels)
            return student_logits.sum()

    distiller = make_kd()
    distiller.terms['loss_kd'] = SeesLabels()
    inputs, samples = make_batch(range(2))
    samples[0].set_gt_score(torch.eye(10)[3] * 0.7 + torch.eye(10)[1] * 0.3)
    samples[1].set_gt_score(torch.eye(10)[8] * 0.6 + torch.eye(10)[2] * 0.4)
    distiller.loss(inputs, samples)
    assert seen[0].tolist() == [3, 8]


def test_mixup_works_with_plain_distillation(make_kd, resnet_config):
    student = resnet_config(
        data_preprocessor=dict(num_classes=10, mean=[77.9], std=[95.9]),
        train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)),
    )
    distiller = make_kd(student)
    data = dict(
        inputs=torch.randint(256, (6, 1, 8, 8), dtype=torch.uint8),
        data_samples=[DataSample().set_gt_label(label) for label in range(6)],
    )
    optimizer = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.1))
    log = distiller.train_step(data, optimizer)
    assert log['loss'].isfinite()
    assert {'loss_cls', 'loss_kd'} <= set(log)


@pytest.mark.parametrize('mode', ['tensor', 'predict'])
def test_the_teacher_is_not_asked_outside_training(make_kd, make_batch, count_calls, mode):
    distiller = make_kd()
    questions = count_calls(distiller.teacher, 'logits')
    inputs, samples = make_batch(range(3))
    distiller.eval()(inputs, samples, mode=mode)
    assert questions == []


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_an_image_that_is_not_finite_is_refused_with_its_row(make_kd, make_batch, bad):
    distiller = make_kd()
    inputs, samples = make_batch(range(6))
    inputs[4, 0, 2, 3] = bad
    with pytest.raises(ValueError, match=r'1 of 6 images hold NaN or infinity \(rows \[4\]'):
        distiller.loss(inputs, samples)


@pytest.mark.parametrize('name', ['kd', 'distill', 'loss_cls', 'loss', 'loss_my_loss'])
def test_wrong_loss_name_is_refused(make_kd, name):
    with pytest.raises(ValueError, match=f'losses: \'{name}\' must start with "loss_"'):
        make_kd(losses={name: dict(type='mmbss.KDLoss')})


def test_what_is_no_distillation_loss_is_refused(make_kd):
    with pytest.raises(ValueError, match='CrossEntropyLoss is no term'):
        make_kd(losses=dict(loss_kd=dict(type='mmpretrain.CrossEntropyLoss')))


def test_different_numbers_of_classes_are_refused(make_kd, make_teacher, resnet_config):
    teacher = make_teacher(resnet_config(num_classes=7))
    with pytest.raises(ValueError, match='the student has 10 classes, the teacher 7'):
        make_kd(teacher=teacher)


def test_different_numbers_of_classes_that_no_head_tells_are_refused(
    make_kd, make_teacher, make_batch, resnet_config
):
    teacher = resnet_config(num_classes=7)
    distiller = make_kd()
    del distiller.head.num_classes
    distiller.__dict__['teacher'] = type(distiller.teacher)(
        **make_teacher(teacher), student_preprocessor=distiller.data_preprocessor
    )
    with pytest.raises(ValueError, match='the student has 10 classes, the teacher 7'):
        distiller.loss(*make_batch(range(3)))


def test_student_without_a_head_is_refused(make_kd, resnet_config):
    student = resnet_config()
    student.pop('head')
    with pytest.raises(ValueError, match='the student has no head, so no logits to distil'):
        make_kd(student)


def test_multi_label_head_is_refused(make_kd, resnet_config):
    student = resnet_config()
    student['head'] = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=8)
    with pytest.raises(ValueError, match='the student has a MultiLabelLinearClsHead'):
        make_kd(student)


def test_head_without_logits_is_refused(make_kd, make_batch, resnet_config):
    @MODELS.register_module(force=True)
    class PairHead(type(make_kd().head)):
        def forward(self, feats):
            return super().forward(feats), None

        def loss(self, feats, data_samples, **kwargs):
            return dict(loss=self(feats)[0].sum())

    student = resnet_config()
    student['head']['type'] = 'mmbss.PairHead'
    with pytest.raises(ValueError, match="the student's PairHead puts out no"):
        make_kd(student).loss(*make_batch(range(3)))


def test_loss_modules_share_their_weight_with_the_losses(make_kd, make_batch):
    distiller = make_kd()
    modules = distiller.loss_modules
    assert isinstance(modules['loss_kd'], KDLoss)
    batch = make_batch(range(4))
    before = distiller.loss(*batch)
    modules['loss_cls'].loss_weight = 0.5
    modules['loss_kd'].loss_weight = 1.0
    after = distiller.loss(*batch)
    torch.testing.assert_close(after['loss_cls'], 0.5 * before['loss_cls'])
    torch.testing.assert_close(after['loss_kd'], 0.25 * before['loss_kd'])


def test_losses_with_a_gradient_are_float32_under_autocast(make_kd, make_batch):
    distiller = make_kd()
    with torch.autocast('cpu', torch.bfloat16):
        losses = distiller.loss(*make_batch(range(6)))
    assert losses['loss_kd'].dtype is torch.float32
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in distiller.parameters())


@pytest.mark.parametrize('name', ['extract_feat', 'forward', 'predict'])
def test_a_class_that_answers_in_another_way_than_its_student_is_refused(
    make_distiller, monkeypatch, name
):
    own = type('Own', (Distiller,), {name: lambda self, *args, **kwargs: None})
    monkeypatch.setitem(MODELS.module_dict, 'Own', own)
    with pytest.raises(ConfigError, match=f'Own overrides {name}, .* backbone, neck or'):
        make_distiller(type='mmbss.Own')


def test_a_class_that_learns_in_another_way_is_taken(make_distiller, make_batch, monkeypatch):
    class Own(Distiller):
        def loss(self, inputs, data_samples):
            return dict(loss_own=self(inputs).sum())

    monkeypatch.setitem(MODELS.module_dict, 'Own', Own)
    assert set(make_distiller(type='mmbss.Own').loss(*make_batch(range(3)))) == {'loss_own'}


def test_is_an_image_classifier(make_kd):
    from mmpretrain.models import ImageClassifier

    assert isinstance(make_kd(), ImageClassifier)
    assert MODELS.get('mmbss.Distiller') is Distiller


def test_terms_see_the_logits_as_deployed_and_not_those_with_a_margin(
    make_kd, make_batch, resnet_config
):
    student = resnet_config()
    student['head'] = dict(
        type='ArcFaceClsHead',
        num_classes=10,
        in_channels=8,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    )
    distiller = make_kd(student)
    inputs, samples = make_batch(range(10))
    losses = distiller.loss(inputs, samples)
    features = distiller.extract_feat(inputs)
    deployed = distiller.head(features)
    with_margin = distiller.head(features, torch.arange(10))
    expected, wrong = (
        4.0 * kd_loss(logits, distiller.teacher(inputs), 3.0) for logits in (deployed, with_margin)
    )
    torch.testing.assert_close(losses['loss_kd'], expected)
    assert not torch.isclose(expected, wrong, rtol=0.05)
    torch.testing.assert_close(
        losses['loss_cls'], torch.nn.functional.cross_entropy(with_margin, torch.arange(10))
    )


def test_shares_count_the_logits_with_a_margin(make_distiller, make_batch, resnet_config):
    student = resnet_config()
    student['head'] = dict(type='ArcFaceClsHead', num_classes=10, in_channels=8, scale=10.0)
    losses = dict(loss_kd=dict(type='mmbss.KDLoss', share=0.3))
    distiller = make_distiller(student, type='mmbss.Distiller', losses=losses)
    distiller.logs_shares = True
    values = distiller.loss(*make_batch(range(10)))
    torch.testing.assert_close(values['kd_share'], torch.tensor(0.3))
    torch.testing.assert_close(values['cls_share'], torch.tensor(0.7))


@pytest.mark.parametrize('right', [1, 2, 8])
def test_a_head_with_batch_norm_takes_no_single_sample(
    make_distiller, make_batch, resnet_config, boundary_config, right
):
    student = resnet_config()
    student['head'] = dict(
        type='StackedLinearClsHead',
        num_classes=10,
        in_channels=8,
        mid_channels=[6],
        norm_cfg=dict(type='BN1d'),
    )
    term = boundary_config(
        attack=dict(type='mmbss.SegmentAttack'), candidates='teacher_correct', train_on='all'
    )
    distiller = make_distiller(
        student, type='mmbss.Distiller', losses=dict(loss_bss=term), favoured=None
    )
    inputs, samples = make_batch([0] * 8)
    decisions = distiller.teacher(inputs).argmax(dim=1)
    for row, sample in enumerate(samples):
        sample.set_gt_label((int(decisions[row]) + (row >= right)) % 10)
    values = distiller.loss(inputs, samples)
    assert values['bss_samples'] <= right
    assert (values['loss_bss'] > 0) == (values['bss_samples'] > 1)


def test_losses_of_head_and_term_need_names_of_their_own(make_distiller, make_batch, monkeypatch):
    distiller = make_distiller(
        type='mmbss.Distiller', losses=dict(loss_center=dict(type='mmbss.KDLoss'))
    )
    loss = distiller.head.loss
    monkeypatch.setattr(
        distiller.head, 'loss', lambda *args: loss(*args) | dict(loss_center=torch.zeros(()))
    )
    with pytest.raises(ConfigError, match=r'losses\.loss_center.*call the term otherwise'):
        distiller.loss(*make_batch(range(4)))


def test_a_term_may_need_logits_features_and_further_answers(make_kd, make_batch):
    seen = []

    class Everything(Term):
        statistics = ('count',)

        def __init__(self):
            super().__init__()
            self.layers = dict(student=['backbone.layer2'], teacher=['backbone.layer3'])

        def compute(self, batch):
            seen.append(batch)
            further = batch.ask_student(batch.inputs[:4])
            loss = batch.student_logits.sum() + further.features['backbone.layer2'].sum()
            return loss, dict(count=further.logits.new_tensor(4.0))

    distiller = make_kd()
    distiller.terms['loss_all'] = Everything()
    inputs, samples = make_batch(range(10))
    losses = distiller.loss(inputs, samples)
    (batch,) = seen
    assert losses['all_count'] == 4
    assert batch.labels.tolist() == list(range(10))
    assert batch.student_features['backbone.layer2'].shape[0] == 10
    assert torch.equal(batch.teacher_logits, distiller.teacher(inputs))
    assert list(batch.teacher_features) == ['backbone.layer3']
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(parameter.grad is not None for parameter in distiller.backbone.layer1.parameters())


def test_two_statistics_of_one_name_are_refused(make_kd, monkeypatch):
    monkeypatch.setattr(KDLoss, 'statistics', ('a_b', 'b'))
    losses = dict(loss_x=dict(type='mmbss.KDLoss'), loss_x_a=dict(type='mmbss.KDLoss'))
    with pytest.raises(ConfigError, match=r"log \['x_a_b'\] under one name"):
        make_kd(losses=losses)


def test_terms_are_tried_also_where_their_weight_is_0(make_kd, make_batch):
    hint = dict(type='mmbss.HintLoss', student='backbone.layer1', teacher='backbone.layer3')
    distiller = make_kd(losses=dict(loss_hint=dict(hint, loss_weight=0.0))).eval()
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    with pytest.raises(ConfigError, match='student_channels=2 and teacher_channels=8'):
        distiller.try_terms(*make_batch(range(2)))
    make_kd().eval().try_terms(*make_batch(range(2)))
    assert all(torch.equal(value, before[name]) for name, value in distiller.state_dict().items())


def test_features_of_what_a_term_brings_are_those_of_the_backbone_and_of_the_head(
    make_kd, make_batch
):
    class Brings(Term):
        def __init__(self):
            super().__init__()
            self.layers = dict(student=['backbone.layer2', 'head.fc', 'head.fc:input'], teacher=[])

        def bring(self, batch):
            return SimpleNamespace(inputs=batch.inputs[:3])

        def compute(self, batch):
            features = batch.brought_outputs.features
            assert len(features['backbone.layer2']) == 3
            assert torch.equal(features['head.fc'], batch.brought_outputs.logits)
            assert torch.equal(features['head.fc'], batch.student_logits[:3])
            return features['head.fc'].sum(), {}

    distiller = make_kd()
    distiller.terms['loss_brings'] = Brings()
    distiller.loss(*make_batch(range(6)))


def test_a_copy_does_not_move_the_teacher(make_distiller):
    distiller = make_distiller()
    copied = copy.deepcopy(distiller).bfloat16()
    assert next(copied.backbone.parameters()).dtype is torch.bfloat16
    assert copied.teacher is distiller.teacher
    assert {each.dtype for each in distiller.teacher.parameters()} == {torch.float32}
    distiller.double()
    assert {each.dtype for each in distiller.teacher.parameters()} == {torch.float64}
