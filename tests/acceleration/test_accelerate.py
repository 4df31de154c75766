import copy
import shutil
from contextlib import nullcontext

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrizations import weight_norm

from mmbss.acceleration import accelerate, is_altered
from mmbss.acceleration.winograd import WinogradConv2d
from mmbss.engine.errors import ConfigError
from mmbss.teachers.classifiers import load_model_config

compiler = pytest.mark.skipif(shutil.which('c++') is None, reason='there is no C++ compiler')
#: Of a frozen network.
FROZEN = [
    dict(fuse_bn=True),
    dict(channels_last=True),
    dict(precision='bfloat16'),
    dict(precision='float16'),
    dict(fuse_bn=True, channels_last=True, precision='bfloat16'),
    pytest.param(dict(winograd='2x2'), marks=compiler),
    pytest.param(dict(fuse_bn=True, channels_last=True, winograd='4x4'), marks=compiler),
    pytest.param(dict(fuse_bn=True, precision='bfloat16', winograd='4x2'), marks=compiler),
]
#: Of one that trains.
TRAINING = [
    dict(channels_last=True),
    pytest.param(dict(winograd='2x2'), marks=compiler),
    pytest.param(dict(channels_last=True, winograd='4x4'), marks=compiler),
]


@pytest.fixture
def network(build_model, resnet_config):
    """A frozen classifier whose BatchNorms do something, and some of whose layers fit Winograd."""
    model = build_model(resnet_config(width=8, in_channels=3)).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture
def student(build_model, resnet_config):
    """A classifier that trains."""
    return build_model(resnet_config(width=16, in_channels=3)).train()


@pytest.fixture
def images():
    return torch.randn(8, 3, 8, 8)


def layouts(network):
    """Have every convolution of a network file whether its inputs are in the NHWC layout."""
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(
                lambda module, args: seen.append(
                    args[0].is_contiguous(memory_format=torch.channels_last)
                )
            )
    return seen


def winograd_layers(network):
    return [module for module in network.modules() if isinstance(module, WinogradConv2d)]


class Unordered(nn.Module):
    """Defines a BatchNorm after a convolution, but runs it before."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.bn = nn.BatchNorm2d(1)
        self.bn.running_mean.fill_(5.0)

    def forward(self, inputs):
        return self.conv(self.bn(inputs).relu()).flatten(1)


# ---------------------------------------------------------------- a frozen network


@pytest.mark.parametrize('settings', FROZEN, ids=str)
def test_a_frozen_network_is_copied_and_its_answers_stay(network, images, settings):
    before = copy.deepcopy(network.state_dict())
    faster = accelerate(network, **settings)
    dtype = next(faster.parameters()).dtype
    with torch.no_grad():
        logits, expected = faster(images), network(images)
    assert logits.dtype is dtype
    tolerance = 1e-4 if dtype is torch.float32 else 0.05
    torch.testing.assert_close(logits.float(), expected, rtol=tolerance, atol=tolerance)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not winograd_layers(network)
    assert not any(parameter.requires_grad for parameter in faster.parameters())
    assert not faster.training


@pytest.mark.parametrize('settings', FROZEN, ids=str)
def test_its_gradients_stay(network, images, settings):
    faster = accelerate(network, **settings)
    images.requires_grad_()
    (expected,) = torch.autograd.grad(network(images)[:, 0].sum(), images)
    (gradient,) = torch.autograd.grad(faster(images)[:, 0].sum(), images)
    assert gradient.dtype is torch.float32
    # at kinks of the ReLU the rounding of 16 bits decides
    exact = next(faster.parameters()).dtype is torch.float32
    error = (gradient - expected).norm() / expected.norm()
    assert error < (1e-4 if exact else 0.3)


@pytest.mark.parametrize('settings', [{}, dict(channels_last=False, winograd=None)], ids=str)
def test_without_settings_it_is_left_alone(network, settings):
    assert accelerate(network, **settings) is network
    assert 'forward' not in vars(network)


@pytest.mark.parametrize('settings', FROZEN, ids=str)
def test_names_of_modules_and_weights_stay(network, settings):
    faster = accelerate(network, **settings)
    names = [name for name, _ in network.named_modules()]
    assert [name for name, _ in faster.named_modules()] == names
    if 'fuse_bn' not in settings:
        assert faster.state_dict().keys() == network.state_dict().keys()


def test_fused_batchnorms_are_gone_and_what_may_differ_is_known(network, images):
    faster = accelerate(network, fuse_bn=True)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    passed = {}

    def record(model, name):
        def hook(module, args, output):
            passed[model, name, True], passed[model, name, False] = args[0], output

        return hook

    for model in (network, faster):
        for name, module in model.named_modules():
            module.register_forward_hook(record(model, name))
        model(images)
    altered = 0
    for name, module in faster.named_modules():
        for at_input in (True, False):
            value, own = (passed.get((model, name, at_input)) for model in (network, faster))
            if is_altered(module, at_input):
                altered += not torch.allclose(own, value, atol=1e-3)
            elif isinstance(value, torch.Tensor):
                torch.testing.assert_close(own, value, rtol=1e-3, atol=1e-4)
    # the input of every BatchNorm, and the output of the convolution before it
    assert altered == 2 * 7


def test_channels_last_runs_in_that_layout(network, images):
    faster = accelerate(network, channels_last=True)
    weight = faster.backbone.layer3[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    seen = layouts(faster)
    faster(images)
    assert seen
    assert all(seen)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_inputs_of_another_type_are_answered(network, images, dtype, precision):
    faster = accelerate(network, fuse_bn=True, precision=precision)
    logits = faster(images.to(dtype))
    assert logits.dtype is getattr(torch, precision)
    assert torch.equal(logits, faster(images.to(dtype).to(logits.dtype)))


@pytest.mark.parametrize('amp', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_autocast_does_not_mix_into_weights_of_16_bits(network, images, amp, precision):
    faster = accelerate(network, precision=precision)
    expected = faster(images)
    with torch.autocast('cpu', amp):
        assert torch.equal(faster(images), expected)


def test_a_copy_answers_with_its_own_weights(network, images):
    faster = accelerate(network, fuse_bn=True)
    expected = faster(images)
    copied = copy.deepcopy(faster)
    nn.init.zeros_(copied.head.fc.weight)
    nn.init.ones_(copied.head.fc.bias)
    assert torch.equal(copied(images), torch.ones(8, 10))
    assert torch.equal(faster(images), expected)


@compiler
def test_it_has_its_kernels_transformed_once(network):
    layers = winograd_layers(accelerate(network, fuse_bn=True, winograd='2x2'))
    assert layers
    assert all(layer.frozen_kernels is not None for layer in layers)


# ---------------------------------------------------------------- its first answer


def test_the_first_answer_is_compared_with_the_original_which_is_then_let_go(network, images):
    faster, calls = accelerate(network, fuse_bn=True), []
    network.register_forward_hook(lambda *args: calls.append(args))
    for _ in range(2):
        faster(images)
    assert len(calls) == 1
    assert faster.forward.original is None


def test_fusing_layers_that_run_in_another_order_is_noticed():
    faster = accelerate(Unordered().eval().requires_grad_(False), fuse_bn=True)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r'answers differently .*fuse_bn.*precision'):
            faster(torch.randn(8, 1, 4, 4))


@pytest.mark.parametrize(
    'layers',
    [
        [nn.Conv2d(1, 2, 1), nn.ReLU(), nn.BatchNorm2d(2, affine=False)],
        [nn.BatchNorm2d(1), nn.Conv2d(1, 2, 1), nn.Conv2d(2, 4, 1), nn.BatchNorm2d(2)],
        [weight_norm(nn.Conv2d(1, 2, 1)), nn.BatchNorm2d(2)],
    ],
)
def test_what_cannot_be_folded_is_refused(layers):
    with pytest.raises(ConfigError, match=r'cannot fold .*set fuse_bn=False'):
        accelerate(nn.Sequential(*layers).eval().requires_grad_(False), fuse_bn=True)


def test_a_network_without_weights_is_answered():
    faster = accelerate(nn.Flatten(), channels_last=True)
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(faster(images), images.flatten(1))


@pytest.mark.parametrize('mixed', [False, True])
def test_what_rounds_to_fewer_bits_may_differ_by_more(network, images, mixed):
    faster = accelerate(network, channels_last=True)
    faster.head.fc.weight.mul_(1.03)
    faster.head.fc.bias.mul_(1.03)
    refused = pytest.raises(ConfigError, match='answers differently')
    with torch.autocast('cpu', enabled=mixed), nullcontext() if mixed else refused:
        faster(images)


@pytest.mark.parametrize(
    ('value', 'noticed'), [(torch.nan, True), (1e-5, False), (1e-2, True)], ids=str
)
def test_what_is_not_finite_is_noticed_and_rounding_near_zero_is_not(
    network, images, value, noticed
):
    nn.init.zeros_(network.head.fc.weight)
    nn.init.zeros_(network.head.fc.bias)
    faster = accelerate(network, channels_last=True)
    faster.head.fc.bias[0] = value
    if noticed:
        with pytest.raises(ConfigError, match='answers differently'):
            faster(images)
    else:
        faster(images)


def test_answers_that_are_no_logits_are_left_to_whoever_asked(network, images):
    network.head.forward = lambda features: (features, features)
    assert isinstance(accelerate(network, precision='bfloat16')(images), tuple)


# ---------------------------------------------------------------- a network that trains


@pytest.mark.parametrize('settings', TRAINING, ids=str)
def test_one_that_trains_is_changed_in_place_and_its_weights_stay(student, settings):
    before, parameters = copy.deepcopy(student.state_dict()), list(student.parameters())
    assert accelerate(student, **settings) is student
    state = student.state_dict()
    assert list(state) == list(before)
    assert all(torch.equal(state[key], before[key]) for key in before)
    assert all(a is b for a, b in zip(parameters, student.parameters(), strict=True))
    assert len(winograd_layers(student)) == (4 if 'winograd' in settings else 0)


@pytest.mark.parametrize('settings', TRAINING, ids=str)
def test_it_learns_the_same(student, images, settings):
    faster = accelerate(copy.deepcopy(student), **settings)
    for network in (student, faster):
        network(images).square().sum().backward()
    for mine, its in zip(student.parameters(), faster.parameters(), strict=True):
        torch.testing.assert_close(its.grad, mine.grad, rtol=1e-3, atol=1e-3)
    for mine, its in zip(student.buffers(), faster.buffers(), strict=True):
        torch.testing.assert_close(its, mine)


def test_it_runs_in_channels_last(student, images):
    seen = layouts(accelerate(student, channels_last=True))
    student(images)
    assert seen
    assert all(seen)


@pytest.mark.parametrize('settings', [dict(fuse_bn=True), dict(precision='bfloat16')], ids=str)
def test_what_is_for_a_frozen_network_is_refused(student, settings):
    with pytest.raises(ConfigError, match='fuse_bn and precision'):
        accelerate(student, **settings)


@pytest.mark.parametrize('settings', TRAINING, ids=str)
def test_an_average_of_the_weights_answers_with_its_own(student, images, settings):
    accelerate(student, **settings)
    average = ExponentialMovingAverage(student, momentum=0.5)
    with torch.no_grad():
        student.head.fc.weight.zero_()
        student.head.fc.bias.fill_(1.0)
    assert torch.equal(student(images), torch.ones(8, 10))
    assert not torch.equal(average(images), torch.ones(8, 10))
    average.update_parameters(student)  # the first only copies
    assert torch.equal(average(images), torch.ones(8, 10))


@compiler
def test_frozen_layers_of_one_that_trains_may_be_loaded_later(
    student, images, build_model, resnet_config
):
    trained = build_model(resnet_config(width=16, in_channels=3)).state_dict()
    student.backbone.requires_grad_(False)
    plain = copy.deepcopy(student)
    accelerate(student, winograd='2x2')
    for network in (plain, student):
        network.load_state_dict(trained)
    torch.testing.assert_close(student(images), plain(images), rtol=1e-3, atol=1e-3)


def step_in_parallel(rank, network, images):
    parallel = DistributedDataParallel(network, broadcast_buffers=False)
    parallel(images[rank]).square().sum().backward()
    expected = copy.deepcopy(network)
    gradients = []
    for part in images:
        expected.zero_grad()
        expected(part).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in expected.parameters()])
    for parameter, *own in zip(network.parameters(), *gradients, strict=True):
        torch.testing.assert_close(parameter.grad, sum(own) / 2, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('settings', TRAINING, ids=str)
def test_processes_share_its_gradients(student, in_two_processes, settings):
    accelerate(student, **settings)
    in_two_processes(step_in_parallel, student, torch.randn(2, 4, 3, 8, 8))


# ---------------------------------------------------------------- refused


def test_other_precisions_are_refused(network):
    with pytest.raises(ConfigError, match=r'precision must be one of .*int8'):
        accelerate(network, precision='int8')


# ---------------------------------------------------------------- in a distiller


@pytest.mark.parametrize('settings', FROZEN, ids=str)
@pytest.mark.parametrize('channels_last', [False, True])
def test_bss_runs_with_a_faster_teacher(
    make_distiller, make_teacher, make_batch, resnet_config, settings, channels_last
):
    teacher = make_teacher(resnet_config(width=8), favoured=0, acceleration=settings)
    own = dict(channels_last=channels_last)
    distiller = make_distiller(teacher=teacher, favoured=0, acceleration=own)
    losses = distiller.loss(*make_batch([0] * 8))
    assert losses['bss_samples'] == 8
    assert losses['loss_kd'].dtype is torch.float32
    assert all(value.isfinite() for value in losses.values())


@compiler
def test_all_of_it_gives_the_same_losses_and_gradients(
    make_distiller, make_teacher, make_batch, resnet_config, boundary_config
):
    wide = resnet_config(width=16)
    teacher, batch = make_teacher(wide, favoured=0), make_batch([0] * 20)
    boundary = boundary_config(attack=dict(type='mmbss.BSSAttack', num_steps=1))
    settings = dict(student=wide, favoured=0, boundary=boundary)
    plain = make_distiller(teacher=teacher, **settings)
    other = make_distiller(
        teacher=dict(teacher, acceleration=dict(fuse_bn=True, channels_last=True, winograd='2x2')),
        acceleration=dict(channels_last=True, winograd='4x4'),
        **settings,
    )
    assert winograd_layers(other.backbone)
    assert winograd_layers(other.teacher.network)
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


def test_an_accelerated_distiller_stands_for_its_student(build_model, resnet_config):
    config = dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher={},
        losses={},
        acceleration=dict(channels_last=True, winograd='2x2'),
    )
    assert build_model(load_model_config(config)).head.num_classes == 10


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_a_teacher_of_16_bits_teaches_under_autocast(
    make_distiller, make_teacher, make_batch, precision
):
    teacher = make_teacher(favoured=0, acceleration=dict(precision=precision))
    distiller = make_distiller(teacher=teacher, favoured=0)
    inputs, samples = make_batch([0] * 6)
    expected = distiller.teacher(inputs)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(distiller.teacher(inputs), expected)
        losses = distiller.loss(inputs, samples)
    assert all(value.isfinite() for value in losses.values())
