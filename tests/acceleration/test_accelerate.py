import copy
import shutil

import pytest
import torch
from torch import nn

from mmbss.acceleration.accelerate import accelerate, check_answers
from mmbss.acceleration.winograd import WinogradConv2d
from mmbss.distillers.classifiers import load_model_config

compiler = pytest.mark.skipif(shutil.which('c++') is None, reason='there is no C++ compiler')
FASTER = [
    dict(fuse_bn=True),
    dict(channels_last=True),
    dict(precision='bfloat16'),
    dict(fuse_bn=True, channels_last=True, precision='bfloat16'),
    pytest.param(dict(winograd='2x2'), marks=compiler),
    pytest.param(dict(fuse_bn=True, channels_last=True, winograd='4x4'), marks=compiler),
    pytest.param(dict(fuse_bn=True, precision='bfloat16', winograd='4x2'), marks=compiler),
]
NOTHING = dict(fuse_bn=False, channels_last=False, precision='float32')


@pytest.fixture
def network(build_model, resnet_config):
    model = build_model(resnet_config(width=8)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


class Unordered(nn.Module):
    """Defines a BatchNorm after a convolution, but runs it before."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.bn = nn.BatchNorm2d(1)
        self.bn.running_mean.fill_(5.0)

    def forward(self, inputs, mode='tensor'):
        return self.conv(self.bn(inputs).relu()).flatten(1)


@pytest.mark.parametrize('settings', FASTER, ids=str)
def test_answers_stay_and_the_original_is_not_changed(network, settings):
    inputs = torch.randn(8, 1, 8, 8)
    before = copy.deepcopy(network.state_dict())
    faster = accelerate(network, **{**NOTHING, **settings})
    dtype = next(faster.parameters()).dtype
    with torch.no_grad():
        logits, expected = faster(inputs.to(dtype)).float(), network(inputs)
    tolerance = 0.05 if dtype is torch.bfloat16 else 1e-4
    torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance)
    check_answers(network, inputs, logits)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in faster.parameters())


def test_fused_networks_have_no_batchnorm_left(network):
    faster = accelerate(network, **{**NOTHING, 'fuse_bn': True})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())


def test_channels_last_holds_the_weights_in_that_layout(network):
    faster = accelerate(network, **{**NOTHING, 'channels_last': True})
    weight = faster.backbone.layer3[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_fusing_layers_that_run_in_another_order_is_noticed():
    network = Unordered().eval()
    inputs = torch.randn(8, 1, 4, 4)
    faster = accelerate(network, **{**NOTHING, 'fuse_bn': True})
    with pytest.raises(ValueError, match=r'answers differently .*set teacher\.fuse_bn=False'):
        check_answers(network, inputs, faster(inputs))


def test_answers_that_are_not_finite_are_noticed(network):
    inputs = torch.randn(2, 1, 8, 8)
    with pytest.raises(ValueError, match='answers differently'):
        check_answers(network, inputs, torch.full((2, 10), torch.nan))


def test_rounding_of_logits_near_zero_is_no_difference(network):
    nn.init.zeros_(network.head.fc.weight)
    nn.init.zeros_(network.head.fc.bias)
    inputs = torch.randn(2, 1, 8, 8)
    check_answers(network, inputs, torch.full((2, 10), 1e-5))
    with pytest.raises(ValueError, match='answers differently'):
        check_answers(network, inputs, torch.full((2, 10), 1e-2))


@compiler
def test_a_frozen_network_has_its_kernels_transformed_once(network):
    faster = accelerate(network, **{**NOTHING, 'fuse_bn': True}, winograd='2x2')
    layers = [module for module in faster.modules() if isinstance(module, WinogradConv2d)]
    assert layers
    assert all(layer.frozen_kernels is not None for layer in layers)
    assert not any(isinstance(module, WinogradConv2d) for module in network.modules())


def test_other_precisions_are_refused(network):
    with pytest.raises(ValueError, match=r'teacher\.precision must be one of .* got .int8.'):
        accelerate(network, **{**NOTHING, 'precision': 'int8'})


# ---------------------------------------------------------------- in a distiller


@pytest.mark.parametrize('settings', FASTER, ids=str)
def test_bss_runs_with_a_faster_teacher(
    make_distiller, make_teacher, make_batch, resnet_config, settings
):
    channels_last = settings.get('channels_last', False)
    settings = {k: v for k, v in settings.items() if k != 'channels_last'}
    teacher = make_teacher(resnet_config(width=8), favoured=0, **settings)
    distiller = make_distiller(teacher=teacher, favoured=0, channels_last=channels_last)
    losses = distiller.loss(*make_batch([0] * 8))
    assert losses['bss_samples'] == 8
    assert losses['loss_kd'].dtype is torch.float32
    assert all(value.isfinite() for value in losses.values())
    assert distiller.teacher.unchecked is None, 'the original is let go after the first batch'


@compiler
@pytest.mark.parametrize('reuse', [False, True])
def test_winograd_gives_the_same_losses_and_gradients(
    make_distiller, make_teacher, make_batch, resnet_config, boundary_config, reuse
):
    wide = resnet_config(width=16)
    teacher, batch = make_teacher(wide, favoured=0), make_batch([0] * 20)
    boundary = boundary_config(
        attack=dict(type='mmbss.BSSAttack', num_steps=1), reuse_clean_pass=reuse
    )
    settings = dict(student=wide, favoured=0, channels_last=True, boundary=boundary)
    plain = make_distiller(teacher=teacher, **settings)
    other = make_distiller(teacher=dict(teacher, winograd='2x2'), winograd='4x4', **settings)
    for network in (other.backbone, other.teacher.network):
        assert any(isinstance(module, WinogradConv2d) for module in network.modules())
    other.load_state_dict(plain.state_dict())
    for distiller in (plain, other):
        torch.manual_seed(0)
        losses = distiller.loss(*batch)
        sum(value for name, value in losses.items() if name.startswith('loss')).backward()
        distiller.losses = losses
    assert plain.losses['bss_samples'] > 0
    for name, value in plain.losses.items():
        torch.testing.assert_close(other.losses[name], value, rtol=1e-3, atol=1e-4)
    for mine, its in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(its.grad, mine.grad, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_other_tiles_are_refused(make_distiller, make_teacher, whose):
    settings = (
        dict(winograd='3x3') if whose == 'student' else dict(teacher=make_teacher(winograd='3x3'))
    )
    with pytest.raises(
        ValueError, match=r"winograd must be one of \['2x2', '4x2', '4x4'\], got '3x3'"
    ):
        make_distiller(**settings)


def test_channels_last_gives_the_same_losses(make_distiller, make_teacher, make_batch):
    teacher, batch = make_teacher(favoured=0), make_batch([0] * 8)
    plain = make_distiller(teacher=teacher, favoured=0, type='mmbss.Distiller')
    other = make_distiller(teacher=teacher, favoured=0, type='mmbss.Distiller', channels_last=True)
    other.load_state_dict(plain.state_dict())
    for name, value in plain.loss(*batch).items():
        torch.testing.assert_close(other.loss(*batch)[name], value, rtol=1e-4, atol=1e-5)


def test_a_distiller_in_channels_last_stands_for_its_student(build_model, resnet_config):
    config = dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher={},
        losses={},
        channels_last=True,
        winograd='2x2',
    )
    assert build_model(load_model_config(config)).head.num_classes == 10


@pytest.mark.parametrize('amp', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_a_teacher_of_16_bits_answers_in_its_own_under_autocast(
    make_distiller, make_teacher, make_batch, amp, precision
):
    teacher = make_teacher(favoured=0, precision=precision)
    distiller = make_distiller(teacher=teacher, favoured=0)
    inputs, samples = make_batch([0] * 6)
    expected = distiller.teacher(inputs)
    with torch.autocast('cpu', amp):
        assert torch.equal(distiller.teacher(inputs), expected)
        losses = distiller.loss(inputs, samples)
    assert all(value.isfinite() for value in losses.values())
