import pytest
import torch
from torch import nn

from mmbss.backbones import CIFARResNet
from mmbss.backbones.cifar_resnet import BasicBlock


@pytest.mark.parametrize(
    ('depth', 'parameters'), [(8, 75_290), (14, 172_506), (20, 269_722), (26, 366_938)]
)
def test_parameter_counts_are_the_published_ones(depth, parameters):
    head = nn.Linear(64, 10)
    backbone = CIFARResNet(depth=depth)
    count = sum(weight.numel() for net in (backbone, head) for weight in net.parameters())
    assert count == parameters


@pytest.mark.parametrize('depth', [8, 14, 20])
def test_depth_counts_the_layers_with_weights(depth):
    layers = [m for m in CIFARResNet(depth).modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) + 1 == depth, 'the head is the last layer'


@pytest.mark.parametrize('depth', [-4, 2, 7, 10, 18])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=rf'depth must be 6n\+2 .* got {depth}'):
        CIFARResNet(depth)


def test_shortcut_takes_every_second_pixel_and_appends_zeros():
    block = BasicBlock(3, 5, stride=2)
    x = torch.randn(2, 3, 8, 6)
    short = block.shortcut(x)
    assert short.shape == (2, 5, 4, 3)
    assert torch.equal(short[:, :3], x[:, :, ::2, ::2])
    assert not short[:, 3:].any()


def test_shortcut_of_a_plain_block_is_the_input():
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(BasicBlock(4, 4, stride=1).shortcut(x), x)


def test_block_without_residual_is_its_shortcut():
    block = BasicBlock(2, 4, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(block(x), block.shortcut(x).relu())


@pytest.mark.parametrize('out_indices', [(3,), (1, 2, 3), (-1,), ()])
def test_stages_that_there_are_not_are_refused(out_indices):
    with pytest.raises(ValueError, match='stages among 0, 1 and 2'):
        CIFARResNet(8, out_indices=out_indices)


@pytest.mark.parametrize('out_indices', [(2,), (0, 2), (0, 1, 2)])
def test_outputs_are_those_of_the_named_stages(out_indices):
    model = CIFARResNet(8, in_channels=1, base_channels=4, out_indices=out_indices)
    every = CIFARResNet(8, in_channels=1, base_channels=4, out_indices=(0, 1, 2))
    every.load_state_dict(model.state_dict())
    for network in (model, every):
        network.eval()  # gives None, unlike torch's
    x = torch.randn(2, 1, 16, 16)
    outputs, expected = model(x), every(x)
    assert isinstance(outputs, tuple)
    assert [out.shape[1] for out in outputs] == [4 * 2**index for index in out_indices]
    for index, out in zip(out_indices, outputs, strict=True):
        assert torch.equal(out, expected[index])


@pytest.mark.parametrize('size', [8, 28, 32])
@pytest.mark.parametrize('channels', [1, 3])
def test_takes_any_image_size(size, channels):
    (out,) = CIFARResNet(8, in_channels=channels, base_channels=2)(
        torch.randn(2, channels, size, size)
    )
    assert out.shape == (2, 8, -(-size // 4), -(-size // 4))


def test_weights_start_from_he_initialisation():
    model = CIFARResNet(14)
    model.init_weights()
    weight = model.layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert model.bn1.weight.eq(1).all()


def test_own_initialisation_is_used():
    model = CIFARResNet(8, init_cfg=dict(type='Constant', layer='Conv2d', val=0.5))
    model.init_weights()
    assert model.conv1.weight.eq(0.5).all()


def test_every_weight_gets_a_gradient():
    model = CIFARResNet(8, base_channels=2)
    model(torch.randn(2, 3, 8, 8))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
