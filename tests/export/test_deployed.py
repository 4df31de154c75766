import pytest
import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.export.deployed import Deployed


class Network(nn.Module):
    """Gives what its preprocessor has made of the images, flat."""

    def __init__(self, preprocessor):
        super().__init__()
        self.data_preprocessor = preprocessor
        self.head = nn.Identity()

    def forward(self, inputs, mode):
        assert mode == 'tensor'
        return inputs.flatten(1)


@pytest.mark.parametrize('mean', [None, [120.5], [1.0, 2.0, 3.0]])
@pytest.mark.parametrize('divisor', [1, 4])
def test_it_does_what_mmpretrain_does_to_the_bit(mean, divisor):
    std = mean and [57.3] * len(mean)
    preprocessor = ClsDataPreprocessor(mean, std, pad_size_divisor=divisor, pad_value=7)
    images = torch.rand(2, 3, 6, 5) * 255
    right = preprocessor(dict(inputs=images))['inputs'].flatten(1)
    assert torch.equal(Deployed(Network(preprocessor))(images), right)


def test_a_preprocessor_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match='data_preprocessor: Identity does something else'):
        Deployed(Network(nn.Identity()))


def test_logits_must_be_a_table():
    class Maps(Network):
        def forward(self, inputs, mode):
            return inputs

    with pytest.raises(ConfigError, match='no \\(N, K\\) logits'):
        Deployed(Maps(ClsDataPreprocessor()))(torch.ones(1, 3, 2, 2))
