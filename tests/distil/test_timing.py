import pytest
import torch
from torch import nn

from mmbss.distil.timing import check_start
from mmbss.engine.errors import ConfigError


@pytest.mark.parametrize(
    ('state', 'words'),
    [
        ({'backbone.weight': (2, 3), 'backbone.bias': (2,), 'head.fc.weight': (5, 2)}, None),
        ({'backbone.conv.weight': (2, 3)}, 'missing'),
        ({'backbone.weight': (2, 4), 'backbone.bias': (2,)}, 'shape'),
        ({'weight': (2, 3), 'bias': (2,)}, 'begin with'),
    ],
)
def test_weights_to_start_from_are_those_of_the_backbone(tmp_path, state, words):
    path = tmp_path / 'start.pth'
    torch.save({name: torch.zeros(shape) for name, shape in state.items()}, path)
    config = dict(init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone'))
    if words is None:
        check_start(nn.Linear(3, 2), config)
    else:
        with pytest.raises(ConfigError, match=words):
            check_start(nn.Linear(3, 2), config)


def test_weights_that_are_missing_are_no_teachers(tmp_path):
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'gone.pth'), prefix='backbone')
    with pytest.raises(ConfigError, match=r'^no file'):
        check_start(nn.Linear(3, 2), dict(init_cfg=start))


def test_random_ones_are_not_asked_about():
    check_start(nn.Linear(3, 2), {})
