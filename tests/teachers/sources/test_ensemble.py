"""Several teachers as one."""

import pytest
import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmbss.attacks import BSSAttack
from mmbss.engine.errors import ConfigError
from mmbss.teachers import Teacher


class Linear(nn.Module):
    """Logits from the pixels."""

    def __init__(self, seed=0, count=4):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(count, 3 * 8 * 8, generator=generator) / 5
        self.register_buffer('weight', weight)
        self.num_classes = count

    def forward(self, images):
        return images.flatten(1) @ self.weight.T


def closed(images):
    return images.flatten(1)[:, :4].detach()


ONE = dict(config=Linear(0), mean=[100.0, 110.0, 120.0], std=[50.0, 60.0, 70.0], channels='rgb')
OTHER = dict(config=Linear(1), mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0], channels='bgr')


def test_the_mean_of_the_probabilities(make_teacher, pixels, to_student):
    inputs = to_student(pixels(8))
    both = make_teacher([ONE, OTHER])
    members = [make_teacher(**each)(inputs) for each in (ONE, OTHER)]
    expected = torch.stack([each.softmax(dim=1) for each in members]).mean(dim=0)
    torch.testing.assert_close(both(inputs).softmax(dim=1), expected)
    torch.testing.assert_close(both(inputs), expected.log(), rtol=1e-4, atol=1e-4)
    alone = make_teacher([ONE])
    torch.testing.assert_close(alone(inputs), members[0].log_softmax(dim=1))


def test_saturated_members_stay_finite(make_teacher, to_student, pixels):
    sure = Linear(0)
    sure.weight *= 1e4
    both = make_teacher([dict(config=sure), dict(config=Linear(1))])
    inputs = to_student(pixels(8)).requires_grad_()
    logits = both.logits(inputs)
    logits.max(dim=1).values.sum().backward()
    assert logits.isfinite().all()
    assert inputs.grad.isfinite().all()


def test_it_is_attacked_as_one_function(make_teacher, pixels, to_student):
    both = make_teacher([ONE, OTHER])
    samples = both.from_student(to_student(pixels(8)))
    base = both.logits(samples).argmax(dim=1)
    target = (base + 1) % 4
    result = BSSAttack(num_steps=20)(both.logits, samples, base, target, both.pixel_bounds)
    assert result.steps.sum() > 0
    torch.testing.assert_close(both.logits(result.samples), result.logits)


def test_it_is_frozen_and_follows(make_teacher):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Dropout())
    both = make_teacher([dict(config=network), ONE])
    both.train()
    assert not any(module.training for module in both.modules() if not isinstance(module, Teacher))
    assert not any(parameter.requires_grad for parameter in both.parameters())
    assert {each.dtype for each in both.to(torch.float64).buffers()} == {torch.float64}
    assert both(torch.zeros(1, 3, 8, 8, dtype=torch.float64)).shape == (1, 4)


def test_features_of_a_member(make_teacher, pixels, to_student):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    both = make_teacher([dict(config=network), ONE])
    path = 'members.0.network.0'
    with both.recorder.recording([path]) as features:
        both(to_student(pixels(8)))
    assert features[path].shape == (4, 192)


def test_what_is_known_of_it_is_that_of_its_members(make_teacher):
    both = make_teacher([ONE, OTHER])
    same = make_teacher([dict(ONE), dict(OTHER)])
    another = make_teacher([ONE, dict(OTHER, mean=[1.5, 2.0, 3.0])])
    assert both.num_classes == 4
    assert both.identity == same.identity != another.identity
    assert both.digest == same.digest != another.digest
    faster = make_teacher([ONE, dict(OTHER, acceleration=dict(channels_last=True))])
    assert both.facts == faster.facts
    assert both.identity != faster.identity
    assert both.differentiable
    assert both.classes is None
    assert make_teacher([ONE, dict(OTHER, classes=list('abcd'))]).classes == tuple('abcd')


@pytest.mark.parametrize(
    ('config', 'keys', 'message'),
    [
        ([], {}, 'list stands for'),
        ([3], {}, 'list stands for'),
        ([ONE, dict(config=Linear(2, count=5))], {}, 'numbers of classes'),
        (
            [dict(ONE, classes=list('abcd')), dict(OTHER, classes=list('abdc'))],
            {},
            'different classes',
        ),
        ([ONE, OTHER], dict(checkpoint='a.pth'), 'each of them'),
        ([ONE, OTHER], dict(mean=[9.0] * 3, std=[9.0] * 3), 'each of them'),
        ([ONE, OTHER], dict(acceleration=dict(fuse_bn=True)), 'each of them'),
        ([ONE, dict(OTHER, chanels='rgb')], {}, 'chanels'),
    ],
)
def test_what_is_refused(config, keys, message, make_teacher):
    with pytest.raises(ConfigError, match=message):
        make_teacher(config, **keys)


def test_members_with_other_classes_that_do_not_say_so(make_teacher, pixels, to_student):
    both = make_teacher([ONE, dict(config=lambda images: images.mean((2, 3)))])
    with pytest.raises(ConfigError, match='numbers of classes'):
        both(to_student(pixels(8)))


def test_members_without_a_gradient(pixels, to_student):
    preprocessor = ClsDataPreprocessor()
    both = Teacher(
        [dict(config=closed), ONE | dict(reverse_channels=False)], student_preprocessor=preprocessor
    )
    assert both(to_student(pixels(8))).shape == (4, 4)


def test_members_may_name_their_classes_by_synonyms(make_teacher):
    names = ['tiger cat', 'lynx, catamount', 'crane', 'dog']
    others = ['Tiger_cat', 'lynx', 'crane', 'dog']
    both = make_teacher([dict(ONE, classes=names), dict(OTHER, classes=others)])
    assert both.classes == tuple(names)
    many = [f'a long name of class {k}' for k in range(4)]
    with pytest.raises(ConfigError, match='different classes') as caught:
        make_teacher([dict(ONE, classes=many), dict(OTHER, classes=many[::-1])])
    assert len(str(caught.value)) < 500


def test_layers_that_a_members_faster_form_folds_are_refused(make_teacher):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 4)
    ).eval()
    fast = dict(config=network, acceleration=dict(fuse_bn=True))
    for members, path in (
        ([fast, ONE], 'members.0.network.0'),
        ([ONE, fast], 'members.1.network.0'),
    ):
        with pytest.raises(ConfigError, match='fuse_bn'):
            make_teacher(members).watch([path])
    make_teacher([fast, dict(config=network)]).watch(['members.1.network.0'])
