import copy

import pytest
import torch
from mmengine.registry import DefaultScope

from mmbss.distillers.classifiers import load_model_config
from mmbss.registry import MODELS


@pytest.fixture
def build(tmp_path):
    """Build the model of a config as the runner does, with a fresh teacher in place of its own."""

    def build(config):
        model = config.model.to_dict()
        model.setdefault('data_preprocessor', config.data_preprocessor.to_dict())
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            if 'teacher' in model:
                teacher = MODELS.build(load_model_config(model['teacher']['config']))
                model['teacher']['checkpoint'] = str(tmp_path / 'teacher.pth')
                torch.save(teacher.state_dict(), model['teacher']['checkpoint'])
            return MODELS.build(copy.deepcopy(model))

    return build
