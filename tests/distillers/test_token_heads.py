"""Students with a class token and a distillation token."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmpretrain.structures import DataSample
from small_classifiers import CLASSIFIERS

from mmbss.engine.errors import ConfigError

STUDENTS = dict(
    deit=CLASSIFIERS['deit'],
    levit=dict(
        type='ImageClassifier',
        backbone=dict(type='LeViT', arch='128s', img_size=32, out_indices=(2,)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LeViTClsHead', num_classes=10, in_channels=384),
    ),
    # its own backbone takes images of 224 x 224 pixels alone
    efficientformer=dict(
        CLASSIFIERS['resnet18'],
        head=dict(type='EfficientFormerClsHead', num_classes=10, in_channels=64),
    ),
)
LAYERS = dict(
    deit=('layers.head', 'layers.head_dist'),
    levit=('head', 'head_dist'),
    efficientformer=('head', 'dist_head'),
)
#: 0.9 L_CE + 0.1 T^2 L_KD and 0.5 L_CE + 0.5 L_hard, eq. 2 and 3 of Touvron et al.
SOFT = dict(type='mmbss.KDLoss', temperature=3.0, scale_by_t2=True, loss_weight=0.1)
HARD = dict(type='mmbss.HardKDLoss', loss_weight=0.5)


@pytest.fixture
def make_student(make_distiller, make_teacher, small_colour):
    """A distiller with a term on its distillation token, all of whose weights are random."""

    def make(kind, term, classification=0.5, **further):
        student = copy.deepcopy(STUDENTS[kind])
        student['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=classification)
        losses = dict(loss_token=dict(term, student_logits='token'), **further) if term else {}
        teacher = make_teacher(small_colour)
        model = make_distiller(student, teacher, 'mmbss.Distiller', losses=losses)
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        return model

    return make


@pytest.fixture
def batch(make_batch):
    return make_batch([0, 3, 9, 3], channels=3, size=32)


def plain_logits(model, features):
    """Logits of the class token and of the distillation token, written out."""
    kind = type(model.head).__name__
    if kind == 'DeiTClsHead':
        *_, class_token, other = features[-1]
        return model.head.layers.head(class_token), model.head.layers.head_dist(other)
    (feature,) = features
    if kind == 'LeViTClsHead':
        return model.head.head(feature), model.head.head_dist(feature)
    return model.head.head(feature), model.head.dist_head(feature)


def plain_soft(token, teacher):
    q = (teacher / 3).softmax(1)
    return 0.1 * 9 * -(q * (token / 3).log_softmax(1)).sum(1).mean()


def plain_hard(token, teacher):
    rows = torch.arange(len(token))
    return 0.5 * -token.log_softmax(1)[rows, teacher.argmax(1)].mean()


@pytest.mark.parametrize('kind', STUDENTS)
@pytest.mark.parametrize(
    ('term', 'plain', 'weight'), [(SOFT, plain_soft, 0.9), (HARD, plain_hard, 0.5)]
)
def test_each_token_learns_from_its_own_teacher(make_student, batch, kind, term, plain, weight):
    model = make_student(kind, term, weight)
    inputs, samples = batch
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # mmpretrain's head would warn that it cannot be trained
        torch.manual_seed(1)
        losses = model.loss(inputs, samples)
    torch.manual_seed(1)
    of_class, of_token = plain_logits(model, model.extract_feat(inputs))
    expected = dict(
        loss_cls=weight * F.cross_entropy(of_class, torch.tensor([0, 3, 9, 3])),
        loss_token=plain(of_token, model.teacher(inputs)),
    )
    assert losses.keys() == expected.keys()
    weights = [model.head.get_submodule(path) for path in LAYERS[kind]]
    parameters = [each for layer in weights for each in layer.parameters()]
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
        gradients, written = (
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for loss in (losses[name], value)
        )
        for parameter, ours, theirs in zip(parameters, gradients, written, strict=True):
            zero = torch.zeros_like(parameter)
            torch.testing.assert_close(
                zero if ours is None else ours, zero if theirs is None else theirs
            )


@pytest.mark.parametrize('kind', STUDENTS)
def test_deployed_both_tokens_are_averaged_by_the_plain_student(
    make_student, build_model, batch, kind
):
    model = make_student(kind, HARD)
    plain = build_model(STUDENTS[kind])
    plain.load_state_dict(model.state_dict())
    average = ExponentialMovingAverage(model)
    for each in (model, average.module):
        each.eval()
        of_class, of_token = plain_logits(each, each.extract_feat(batch[0]))
        torch.testing.assert_close(each(batch[0]), (of_class + of_token) / 2)
    torch.testing.assert_close(plain.eval()(batch[0]), model(batch[0]))
    # and so do the logits that other terms, and the boundary, look at while it trains
    model.train()
    assert not model.head.training
    assert all(layer.training for layer in model.head.children())


def test_other_terms_look_at_the_mean(make_student, batch):
    model = make_student('deit', HARD, loss_kd=dict(type='mmbss.KDLoss', temperature=3.0))
    logits = (sum(plain_logits(model, model.extract_feat(batch[0]))) / 2).div(3).log_softmax(1)
    expected = -(model.teacher(batch[0]).div(3).softmax(1) * logits).sum(1).mean()
    torch.testing.assert_close(model.loss(*batch)['loss_kd'], expected)


def test_every_weight_gets_a_gradient_while_the_term_has_no_weight(make_student, batch):
    model = make_student('deit', HARD)
    model.loss_modules['loss_token'].loss_weight = 0.0
    loss, _ = model.parse_losses(model.loss(*batch))
    loss.backward()
    assert all(weight.grad is not None for weight in model.head.parameters())
    assert not model.head.layers.head_dist.weight.grad.any()


def test_the_teacher_alone_teaches_both_where_there_are_no_labels(make_student, batch):
    model = make_student('deit', HARD, 0.0, loss_kd=dict(type='mmbss.KDLoss'))
    values = model.loss(batch[0], [DataSample() for _ in batch[1]])
    assert values['loss_cls'] == 0
    assert values['loss_token'] > 0


def test_shares_of_the_gradient_are_those_at_the_own_logits(make_student, batch):
    model = make_student('deit', dict(type='mmbss.KDLoss', share=0.25))
    model.logs_shares = True
    values = model.loss(*batch)
    torch.testing.assert_close(values['token_share'], torch.tensor(0.25))
    torch.testing.assert_close(values['cls_share'], torch.tensor(0.75))


def test_any_layer_of_logits_can_be_named(make_distiller, make_batch):
    term = dict(type='mmbss.KDLoss', student_logits='head.fc')
    losses = dict(loss_kd=dict(type='mmbss.KDLoss'), loss_same=term)
    model = make_distiller(type='mmbss.Distiller', losses=losses)
    values = model.loss(*make_batch([0, 1, 2]))
    torch.testing.assert_close(values['loss_same'], values['loss_kd'])


def test_a_layer_of_another_width_is_refused(make_distiller, make_batch):
    term = dict(type='mmbss.HardKDLoss', student_logits='neck.gap')
    model = make_distiller(type='mmbss.Distiller', losses=dict(loss_same=term))
    with pytest.raises(
        ConfigError, match=r"student_logits='neck\.gap' puts out .* name a layer that"
    ):
        model.loss(*make_batch([0, 1, 2]))


def test_a_student_may_have_a_list_of_initializers(make_distiller):
    # as mmpretrain's DeiT has
    init_cfg = [dict(type='Constant', layer='Linear', val=0.5), dict(type='Xavier', layer='Conv2d')]
    student = dict(CLASSIFIERS['deit'], init_cfg=init_cfg)
    model = make_distiller(student, type='mmbss.Distiller', losses={})
    assert (model.backbone.layers[0].attn.qkv.weight == 0.5).all()


def test_what_does_not_fit_is_refused(make_distiller, make_student):
    def losses(**term):
        return dict(type='mmbss.Distiller', losses=dict(loss_x=term))

    with pytest.raises(ConfigError, match='LinearClsHead without one'):
        make_distiller(**losses(type='mmbss.KDLoss', student_logits='token'))
    with pytest.raises(ConfigError, match=r"no module 'head\.fd', did you mean 'head\.fc'"):
        make_distiller(**losses(type='mmbss.KDLoss', student_logits='head.fd'))
    with pytest.raises(ConfigError, match='loss on logits'):
        make_distiller(
            **losses(
                type='mmbss.AttentionLoss',
                student='backbone',
                teacher='backbone',
                student_logits='token',
            )
        )
    for kind in ('levit', 'efficientformer'):
        with pytest.raises(ConfigError, match='nothing trains the distillation token'):
            make_student(kind, None)
