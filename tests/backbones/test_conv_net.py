import pytest
import torch
from torch import nn

from mmbss.backbones import ConvNet


def test_the_default_is_the_published_network():
    network = ConvNet()
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.MaxPool2d))]
    assert [type(layer).__name__ for layer in layers] == [
        *('Conv2d', 'Conv2d', 'MaxPool2d', 'Conv2d', 'Conv2d', 'MaxPool2d', 'Linear', 'Linear')
    ]
    widths = [layer.weight.shape[0] for layer in layers if hasattr(layer, 'weight')]
    assert widths == [32, 32, 64, 64, 200, 200]
    # 3 x 3 convolutions without padding leave 4 x 4 of 28 x 28 pixels
    assert layers[6].in_features == 64 * 4 * 4
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize(('size', 'channels'), [(28, (32, 64)), (20, (4, 6)), (16, (8,))])
def test_images_of_any_sufficient_size_fit(size, channels):
    network = ConvNet(image_size=size, in_channels=3, channels=channels, hidden=(12, 7))
    (features,) = network(torch.zeros(2, 3, size, size))
    assert features.shape == (2, 7)


@pytest.mark.parametrize(('size', 'channels'), [(15, (32, 64)), (5, (8,)), (2, (8,))])
def test_images_that_are_too_small_are_refused(size, channels):
    with pytest.raises(ValueError, match=f'images of {size} pixels are too small'):
        ConvNet(image_size=size, channels=channels)


def test_dropout_is_off_in_eval_mode():
    network = ConvNet(image_size=16, channels=(4,))
    network.eval()
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(network(x)[0], network(x)[0])
    network.train()
    assert not torch.equal(network(x)[0], network(x)[0])
