"""A student from timm that starts with weights from a file of timm's own."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from safetensors.torch import save_file

from mmbss.engine.errors import ConfigError, MissingFileError

timm = pytest.importorskip('timm')


def student(name='test_resnet', **init_cfg):
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='TIMMBackbone',
            model_name=name,
            init_cfg=dict(type='mmbss.TimmPretrained', **init_cfg),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=96),
    )


def reference(name='test_resnet', **kwargs):
    torch.manual_seed(5)
    return timm.create_model(name, pretrained=False, **kwargs).eval()


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth', '-holder.pth'])
def test_features_are_those_of_timm(build_model, tmp_path, suffix, monkeypatch):
    said = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'log', lambda level, message: said.append((level, message)))
    model, path = reference(), tmp_path / f'raw{suffix}'
    if suffix == '.safetensors':
        save_file(model.state_dict(), path)
    else:
        state = model.state_dict()
        torch.save(dict(state_dict=state, epoch=3) if 'holder' in suffix else state, path)
    own = build_model(student(checkpoint=str(path))).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(own.backbone(images)[0], model.forward_features(images))
    (line,) = [each for each in said if 'raw' in each[1] and 'loaded' in each[1]]
    assert line[0] == logging.INFO
    assert line[1].endswith('left out: fc.bias, fc.weight')
    # the head is the student's own
    assert own.head.fc.weight.shape == (5, 96)


def test_timm_does_not_draw_the_weights_anew(build_model, tmp_path):
    model = reference('test_vit', img_size=32)
    save_file(model.state_dict(), tmp_path / 'vit.safetensors')
    config = student('test_vit', checkpoint=str(tmp_path / 'vit.safetensors'))
    config['backbone']['img_size'] = 32
    own = build_model(config).eval()
    images = torch.randn(2, 3, 32, 32)
    features = own.backbone.timm_model.forward_features(images)
    torch.testing.assert_close(features, model.forward_features(images))


def test_what_does_not_fit_is_refused(build_model, tmp_path, resnet_config):
    state = reference().state_dict()
    path = str(tmp_path / 'raw.pth')

    def refused(changed, match):
        torch.save(changed, path)
        with pytest.raises(ConfigError, match=match):
            build_model(student(checkpoint=path))

    first = next(iter(state))
    refused({key: value for key, value in state.items() if key != first}, '1 missing')
    refused(dict(state, other=torch.zeros(1)), r'1 left over \(other\)')
    refused(dict(state, **{first: torch.zeros(1)}), '1 of another shape')
    with pytest.raises(MissingFileError, match='no file'):
        build_model(student(checkpoint=str(tmp_path / 'none.pth')))
    torch.save(state, path)
    config = resnet_config()
    config['backbone']['init_cfg'] = dict(type='mmbss.TimmPretrained', checkpoint=path)
    with pytest.raises(ConfigError, match='no CIFARResNet'):
        build_model(config)
