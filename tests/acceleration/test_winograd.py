import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmbss.acceleration.winograd import TILES, WinogradConv2d, transform_kernels, use_winograd

pytestmark = pytest.mark.skipif(shutil.which('c++') is None, reason='there is no C++ compiler')

#: Largest difference to a convolution in float64, as a share of its largest entry.
TOLERANCE = {'2x2': 1e-6, '4x2': 3e-6, '4x4': 6e-6}
#: B and A of the paper, for the points 0, 1, -1 and 0, 3/4, -3/4, 3/2, -3/2.
OF_INPUT = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [81 / 64, 0, -45 / 16, 0, 1, 0],
        [0, -27 / 16, -9 / 4, 3 / 4, 1, 0],
        [0, 27 / 16, -9 / 4, -3 / 4, 1, 0],
        [0, -27 / 32, -9 / 16, 3 / 2, 1, 0],
        [0, 27 / 32, -9 / 16, -3 / 2, 1, 0],
        [0, 81 / 64, 0, -45 / 16, 0, 1],
    ],
}
OF_OUTPUT = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [
        [1, 1, 1, 1, 1, 0],
        [0, 3 / 4, -3 / 4, 3 / 2, -3 / 2, 0],
        [0, 9 / 16, 9 / 16, 9 / 4, 9 / 4, 0],
        [0, 27 / 64, -27 / 64, 27 / 8, -27 / 8, 1],
    ],
}
every_tile = pytest.mark.parametrize('tile', list(TILES))


def convolution(channels=16, outputs=32, bias=True, tile='2x2'):
    layer = nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1, bias=bias))
    assert use_winograd(layer, tile) == 1
    return layer[0]


def exact(layer, images):
    weight, bias = layer.weight.double(), None if layer.bias is None else layer.bias.double()
    return F.conv2d(images.double(), weight, bias, padding=1)


def error(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


@every_tile
@pytest.mark.parametrize('channels', range(16, 145, 16))
def test_as_many_outputs_as_inputs_of_any_width(tile, channels):
    layer = convolution(channels, channels, tile=tile)
    images = torch.randn(2, channels, 4, 4, requires_grad=True)
    output, expected = layer(images), exact(layer, images)
    assert error(output, expected) < TOLERANCE[tile]
    cotangent = torch.randn_like(output)
    (gradient,) = torch.autograd.grad(output, images, cotangent)
    (of_exact,) = torch.autograd.grad(expected, images, cotangent.double())
    assert error(gradient, of_exact) < TOLERANCE[tile]


@every_tile
@pytest.mark.parametrize(
    'shape', [(1, 16, 1, 1), (3, 16, 8, 8), (2, 48, 7, 10), (5, 32, 33, 4), (70, 64, 4, 4)]
)
@pytest.mark.parametrize('bias', [True, False], ids=['bias', 'no bias'])
def test_values_and_gradients_are_those_of_a_convolution(tile, shape, bias):
    layer = convolution(shape[1], 80, bias, tile)
    images = torch.randn(shape, requires_grad=True)
    output, expected = layer(images), exact(layer, images)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert error(output, expected) < TOLERANCE[tile]
    cotangent = torch.randn_like(output)
    inputs = [images, *layer.parameters()]
    gradients = torch.autograd.grad(output, inputs, cotangent)
    of_exact = torch.autograd.grad(expected, inputs, cotangent.double())
    for gradient, own in zip(gradients, of_exact, strict=True):
        assert gradient.dtype == torch.float32
        # where the kernel hangs over the image its gradient is 0, up to rounding
        assert error(gradient, own) < 3 * TOLERANCE[tile]


@every_tile
def test_the_transforms_are_those_of_the_paper(tile):
    """A convolution as Lavin & Gray write it, with the matrices B and A of each direction."""
    b_down, b_across = (torch.tensor(OF_INPUT[side]).double() for side in TILES[tile])
    a_down, a_across = (torch.tensor(OF_OUTPUT[side]).double() for side in TILES[tile])
    layer = convolution(16, 16, bias=False, tile=tile)
    kernels = transform_kernels(layer.weight, tile).double()
    kernels = kernels.unflatten(0, (len(b_down), len(b_across)))
    image = torch.randn(1, 16, *TILES[tile])
    padded = F.pad(image.double(), (1, 1, 1, 1))[0]
    frequencies = torch.einsum('ai,cij,bj->abc', b_down, padded, b_across)
    products = torch.einsum('abc,abck->abk', frequencies, kernels)
    expected = torch.einsum('ia,abk,jb->kij', a_down, products, a_across)
    assert error(layer(image)[0], expected) < TOLERANCE[tile]


@every_tile
def test_bfloat16_is_summed_in_float32(tile):
    layer = convolution(64, 64, tile=tile)
    images = torch.randn(4, 64, 8, 8).bfloat16()
    output = layer(images)
    assert output.dtype == torch.bfloat16
    # half a unit in the last place of 8 bits
    assert error(output, exact(layer, images)) < 2**-8


@every_tile
def test_autocast_trains_in_bfloat16_with_weights_in_float32(tile):
    layer = convolution(tile=tile)
    images = torch.randn(4, 16, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        output = layer(images)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    expected = exact(layer, images.bfloat16())
    (own,) = torch.autograd.grad(expected.sum(), layer.weight)
    assert layer.weight.grad.dtype == torch.float32
    assert error(layer.weight.grad, own) < 0.01


def test_frozen_kernels_are_transformed_once_and_answer_the_same():
    layer = convolution()
    frozen = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1)).requires_grad_(False)
    frozen[0].load_state_dict(layer.state_dict())
    use_winograd(frozen, '2x2', frozen=True)
    images = torch.randn(2, 16, 6, 6, requires_grad=True)
    outputs = layer(images), frozen(images)
    assert torch.equal(*outputs)
    assert len(frozen[0].frozen_kernels) == 2
    assert layer.frozen_kernels is None
    gradients = [torch.autograd.grad(output.sum(), images)[0] for output in outputs]
    assert torch.equal(*gradients)


def test_several_threads_answer_as_one_does():
    layer = convolution(tile='4x4')
    images = torch.randn(40, 16, 16, 16)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        layer.zero_grad()
        output = layer(images)
        output.square().sum().backward()
        results.append((output.detach(), layer.weight.grad.clone()))
    torch.set_num_threads(1)
    (one, of_one), (two, of_two) = results
    assert torch.equal(one, two)
    assert error(of_two, of_one) < 1e-5


def test_precisions_without_winograd_are_convolved_directly():
    layer = convolution().double()
    images = torch.randn(2, 16, 5, 5).double()
    assert torch.equal(layer(images), exact(layer, images))


def test_nothing_and_what_is_not_finite_pass():
    layer = convolution()
    assert layer(torch.empty(0, 16, 8, 8)).shape == (0, 32, 8, 8)
    images = torch.randn(2, 16, 8, 8)
    images[1, 3, 4, 4] = torch.nan
    output = layer(images)
    assert output[0].isfinite().all()
    assert output[1].isnan().any()


def test_only_what_allows_it_is_changed_and_parameters_stay():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),  # 3 channels
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Conv2d(16, 16, 3, padding=1, stride=2),
        nn.Conv2d(16, 16, 3),  # no padding
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 16, 3, padding=1, groups=2),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode='reflect'),
        nn.Conv2d(16, 24, 3, padding=1),  # 24 channels
    )
    before = copy.deepcopy(network)
    parameters = list(network.parameters())
    assert use_winograd(network, '4x4') == 1
    kinds = [isinstance(module, WinogradConv2d) for module in network]
    assert kinds == [False, True, *[False] * 6]
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(network(images), before(images), atol=1e-5, rtol=1e-4)
    before.load_state_dict(network.state_dict())
    copied = copy.deepcopy(network)
    assert torch.equal(copied(images), network(images))


@pytest.mark.parametrize('tile', [2, '2', '2x4', None, ['2x2']])
def test_other_tiles_are_refused(tile):
    with pytest.raises(ValueError, match=r"winograd must be one of \['2x2', '4x2', '4x4'\]"):
        use_winograd(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)), tile)


def test_a_network_without_suitable_convolutions_is_refused():
    with pytest.raises(ValueError, match='no convolution of the network has a 3x3 kernel'):
        use_winograd(nn.Sequential(nn.Conv2d(16, 16, 1), nn.Linear(3, 3)), '2x2')


def test_a_gradient_of_a_gradient_is_refused_instead_of_being_0():
    network = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1))
    use_winograd(network, '2x2')
    images = torch.randn(1, 16, 4, 4, requires_grad=True)
    output = network(images).square().sum()
    (gradient,) = torch.autograd.grad(output, images, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.square().sum().backward()
