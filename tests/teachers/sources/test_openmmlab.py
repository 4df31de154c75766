"""Teachers of mmpretrain: classes of its own, its wrappers of timm and Hugging Face, any module."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from small_classifiers import CLASSIFIERS
from torch import nn

from mmbss.engine.errors import ConfigError

NORMALISED = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
#: With the path of a feature, and the size of images that the network wants.
KINDS = dict(
    vit=(CLASSIFIERS['vit'], 'backbone.layers.1', 32),
    deit=(CLASSIFIERS['deit'], 'head.layers.head_dist', 32),
    levit=(
        dict(
            type='ImageClassifier',
            backbone=dict(type='LeViT', arch='128s', img_size=32, out_indices=(2,)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LeViTClsHead', num_classes=10, in_channels=384),
        ),
        'head.head_dist',
        32,
    ),
    efficientformer=(
        dict(
            type='ImageClassifier',
            backbone=dict(
                type='EfficientFormer',
                arch=dict(
                    layers=[1, 1, 1, 1],
                    embed_dims=[8, 8, 8, 16],
                    downsamples=[False, True, True, True],
                    vit_num=1,
                ),
                drop_path_rate=0.0,
            ),
            neck=dict(type='GlobalAveragePooling', dim=1),
            head=dict(type='EfficientFormerClsHead', num_classes=10, in_channels=16),
        ),
        'head.dist_head',
        224,
    ),
)


@pytest.fixture
def saved(draw, tmp_path):
    """Build a model with weights of its own and store them; gives the model and the path."""

    def make(config):
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(dict(config))
        draw(model)
        path = tmp_path / 'model.pth'
        torch.save(model.state_dict(), path)
        return model, str(path)

    return make


@MODELS.register_module()
class Colours(nn.Module):
    """The mean of each colour, weighed: a plain module."""

    def __init__(self, fixed: bool = False) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(3) if fixed else torch.randn(3))

    def forward(self, images):
        return images.mean(dim=(2, 3)) * self.weights


@pytest.mark.parametrize('kind', KINDS)
def test_every_head_with_logits(kind, make_teacher, saved, pixels, to_student):
    config, path, size = KINDS[kind]
    model, checkpoint = saved(config)
    teacher = make_teacher(config, checkpoint=checkpoint, input_size=size)
    teacher.watch([path])
    inputs = to_student(pixels(size))
    with torch.no_grad():
        expected = model(inputs)
    with teacher.recorder.recording([path]) as features:
        torch.testing.assert_close(teacher(inputs), expected)
    assert expected.shape == (4, 10)
    assert teacher.num_classes == 10
    assert len(features[path]) == 4
    small = to_student(pixels(16)).requires_grad_()
    teacher.logits(teacher.from_student(small)).sum().backward()
    assert small.grad.abs().sum() > 0


def test_timm_in_mmpretrains_wrapper_also_from_a_raw_file(
    make_teacher, pixels, to_student, draw, tmp_path
):
    timm = pytest.importorskip('timm')
    network = draw(timm.create_model('test_resnet', num_classes=10))
    torch.save(network.state_dict(), tmp_path / 'raw.pth')
    config = dict(type='TimmClassifier', model_name='test_resnet', num_classes=10)
    own = make_teacher(config, checkpoint=str(tmp_path / 'raw.pth'))
    said = make_teacher(
        dict(config, data_preprocessor=dict(NORMALISED)), checkpoint=str(tmp_path / 'raw.pth')
    )
    images = pixels(64)
    wants = timm.data.resolve_model_data_config(network)
    mean, std = (255 * torch.tensor(wants[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    with torch.no_grad():
        expected = network((torch.from_numpy(images).permute(0, 3, 1, 2) - mean) / std)
        of_said = network(
            (
                torch.from_numpy(images).permute(0, 3, 1, 2)
                - torch.tensor(NORMALISED['mean']).view(-1, 1, 1)
            )
            / torch.tensor(NORMALISED['std']).view(-1, 1, 1)
        )
    torch.testing.assert_close(own(to_student(images)), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(said(to_student(images)), of_said, atol=1e-4, rtol=1e-4)
    assert own.num_classes == 10
    own.watch(['model.layer2'])
    with own.recorder.recording(['model.layer2']) as features:
        own(to_student(images))
    assert features['model.layer2'].ndim == 4


def test_hugging_face_in_mmpretrains_wrapper(make_teacher, pixels, to_student, draw, tmp_path):
    transformers = pytest.importorskip('transformers')
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type='basic', num_labels=10
    )
    network = draw(transformers.ResNetForImageClassification(config))
    network.save_pretrained(tmp_path)
    wrapper = dict(type='HuggingFaceClassifier', model_name=str(tmp_path))
    with pytest.raises(ConfigError, match='data_preprocessor'):
        make_teacher(wrapper, checkpoint=str(tmp_path / 'model.safetensors'))
    wrapper['data_preprocessor'] = dict(mean=[127.5], std=[127.5], to_rgb=True)
    teacher = make_teacher(wrapper, checkpoint=str(tmp_path / 'model.safetensors'))
    brought = make_teacher(dict(wrapper, pretrained=True))
    images = pixels(32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).logits
    for each in (teacher, brought):
        torch.testing.assert_close(each(to_student(images)), expected, atol=1e-4, rtol=1e-4)
    assert teacher.num_classes == 10
    assert teacher.digest == brought.digest


def test_a_registered_module(make_teacher, saved, pixels, to_student):
    model, checkpoint = saved(dict(type='Colours'))
    teacher = make_teacher(dict(type='Colours'), checkpoint=checkpoint)
    inputs = to_student(pixels(8))
    torch.testing.assert_close(teacher(inputs), model(inputs).detach())
    assert teacher.input_map.is_identity
    stated = make_teacher(
        dict(type='Colours'), checkpoint=checkpoint, mean=[0.0] * 3, std=[255.0] * 3
    )
    images = torch.from_numpy(pixels(8)).permute(0, 3, 1, 2)
    normalised = to_student(images.permute(0, 2, 3, 1).numpy())
    torch.testing.assert_close(stated(normalised), model(images / 255).detach())


def test_weights_that_would_be_random_are_refused(make_teacher):
    with pytest.raises(ConfigError, match='random weights'):
        make_teacher(dict(type='Colours'))
    assert make_teacher(dict(type='Colours', fixed=True)).network.weights.tolist() == [1, 1, 1]


def test_weights_that_the_config_names(make_teacher, saved, pixels, to_student):
    model, checkpoint = saved(CLASSIFIERS['resnet18'])
    teacher = make_teacher(dict(CLASSIFIERS['resnet18'], pretrained=checkpoint))
    inputs = to_student(pixels(32))
    torch.testing.assert_close(teacher(inputs), model(inputs).detach())


def test_arguments_stand_in_the_config(make_teacher):
    with pytest.raises(ConfigError, match='in its config'):
        make_teacher(CLASSIFIERS['vit'], arguments=dict(depth=2))


def test_what_puts_out_no_logits(make_teacher, saved, pixels, to_student):
    config = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    _, checkpoint = saved(config)
    with pytest.raises(ConfigError, match='ResNet_CIFAR puts out no'):
        make_teacher(config, checkpoint=checkpoint)(to_student(pixels(8)))
