import copy

import pytest
import torch
from mmengine.registry import DefaultScope

from mmbss.registry import MODELS
from mmbss.teachers.classifiers import load_model_config

#: In place of a large teacher of timm or torchvision.
STAND_IN = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.CIFARResNet', depth=8, base_channels=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=8),
)


@pytest.fixture
def build(tmp_path):
    """Build the model of a config as the runner does, with a fresh teacher in place of its own."""

    def build(config):
        model = config.model.to_dict()
        model.setdefault('data_preprocessor', config.data_preprocessor.to_dict())
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            if 'teacher' in model:
                if '::' not in model['teacher']['config']:
                    model['teacher']['config'] = copy.deepcopy(STAND_IN)
                teacher = MODELS.build(load_model_config(model['teacher']['config']))
                model['teacher']['checkpoint'] = str(tmp_path / 'teacher.pth')
                torch.save(teacher.state_dict(), model['teacher']['checkpoint'])
            return MODELS.build(copy.deepcopy(model))

    return build
