"""Teachers of Hugging Face: small models of their own classes, from folders."""

import json

import pytest
import torch
from PIL import Image

from mmbss.engine.errors import ConfigError, FileError, MissingFileError
from mmbss.teachers.sources import load_source

transformers = pytest.importorskip('transformers')


def small_vit(**settings):
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=8,
            **settings,
        )
    ).eval()


@pytest.fixture
def vit():
    return small_vit(id2label={0: 'cat', 1: 'dog', 2: 'frog'})


@pytest.fixture
def folder(vit, tmp_path):
    vit.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(
        size=dict(height=32, width=32), image_mean=[0.4, 0.5, 0.6], image_std=[0.1, 0.2, 0.3]
    ).save_pretrained(tmp_path)
    return tmp_path


def asked(processor, network, images):
    images = [Image.fromarray(image) for image in images]
    return network(**processor(images=images, return_tensors='pt')).logits


def test_answers_as_transformers_does(make_teacher, vit, folder, pixels, to_student):
    images = pixels(32)
    own = asked(transformers.AutoImageProcessor.from_pretrained(folder), vit, images)
    teacher = make_teacher(f'hf:{folder}')
    torch.testing.assert_close(teacher(to_student(images)), own, atol=1e-4, rtol=0)
    assert teacher.classes == ('cat', 'dog', 'frog')
    assert (teacher.num_classes, teacher.input_size) == (3, (32, 32))
    torch.testing.assert_close(teacher.pixel_bounds[0].ravel(), torch.tensor([-4, -2.5, -2]))
    teacher.watch(['vit.encoder.layer.0' if hasattr(vit.vit, 'encoder') else 'vit.layers.0'])


def test_resnet_and_its_processor(make_teacher, tmp_path, pixels, to_student, draw):
    network = draw(
        transformers.ResNetForImageClassification(
            transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=10
            )
        )
    )
    network.save_pretrained(tmp_path)
    # cuts out the middle: images of the size before the cut are not resized
    processor = transformers.ConvNextImageProcessor(size=dict(shortest_edge=56), crop_pct=0.875)
    processor.save_pretrained(tmp_path)
    teacher = make_teacher(f'hf:{tmp_path}')
    assert teacher.input_size == (56, 56)
    assert teacher.classes is None  # LABEL_0 is no name
    images = pixels(64)
    own = asked(processor, network, images)
    middle = to_student(images[:, 4:60, 4:60])
    torch.testing.assert_close(teacher(middle), own, atol=1e-4, rtol=0)


def test_order_of_channels_is_seen(make_teacher, folder, vit, pixels, to_student):
    processor = transformers.MobileViTImageProcessor(
        size=dict(shortest_edge=32), crop_size=dict(height=32, width=32)
    )
    (folder / 'preprocessor_config.json').unlink()
    processor.save_pretrained(folder)
    source = load_source(f'hf:{folder}', None, None)
    assert (source.channels, source.mean, source.std) == ('bgr', [0.0] * 3, [255.0] * 3)
    images = pixels(32)
    own = asked(processor, vit, images)
    torch.testing.assert_close(
        make_teacher(f'hf:{folder}')(to_student(images)), own, atol=1e-4, rtol=0
    )


def test_without_processor_nothing_is_said(folder):
    (folder / 'preprocessor_config.json').unlink()
    source = load_source(f'hf:{folder}', None, None)
    assert source.mean is source.std is source.input_size is source.channels is None


def test_weights_from_another_file(folder, tmp_path):
    other = small_vit(num_labels=3)
    torch.save(other.state_dict(), tmp_path / 'other.pth')
    (folder / 'model.safetensors').unlink()
    source = load_source(f'hf:{folder}', str(tmp_path / 'other.pth'), None)
    torch.testing.assert_close(source.network.classifier.weight, other.classifier.weight)
    with pytest.raises(MissingFileError, match=r'model\.safetensors'):
        load_source(f'hf:{folder}', None, None)


def test_weights_in_several_files_and_in_half(folder, vit):
    (folder / 'model.safetensors').unlink()
    vit.half().save_pretrained(folder, max_shard_size='8KB')
    assert (folder / 'model.safetensors.index.json').is_file()
    source = load_source(f'hf:{folder}', None, None)
    weight = source.network.classifier.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, vit.classifier.weight.float())
    index = json.loads((folder / 'model.safetensors.index.json').read_text())
    index['weight_map']['classifier.weight'] = '../other.safetensors'
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    with pytest.raises(ConfigError, match='outside'):
        load_source(f'hf:{folder}', None, None)


@pytest.mark.parametrize(
    ('settings', 'arguments', 'word'),
    [
        (dict(problem_type='multi_label_classification'), {}, 'softmax'),
        ({}, dict(depht=3), 'no setting depht'),
        ({}, dict(num_labels=5), r'classifier.weight is \(3, 16\) instead of \(5, 16\)'),
        ({}, dict(num_hidden_layers=2), 'missing'),
        ({}, dict(num_hidden_layers=0), 'left over'),
        (dict(model_type='gpt2'), {}, 'config'),
        (dict(model_type='mine', auto_map={'AutoConfig': 'code.Config'}), {}, 'code'),
    ],
)
def test_refused(folder, settings, arguments, word):
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, **settings}))
    (folder / 'code.py').write_text('raise SystemExit')
    with pytest.raises(ConfigError, match=word):
        load_source(f'hf:{folder}', None, arguments)


def test_missing(tmp_path, monkeypatch):
    with pytest.raises(MissingFileError, match=r'config\.json'):
        load_source(f'hf:{tmp_path}', None, None)

    def cut_off(repo, allow_patterns):
        raise ConnectionError('no route')

    monkeypatch.setattr('huggingface_hub.snapshot_download', cut_off)
    with pytest.raises(FileError, match=r'owner/name .*no route'):
        load_source('hf:owner/name', None, None)


def test_from_the_hub(folder, monkeypatch):
    monkeypatch.setattr('huggingface_hub.snapshot_download', lambda repo, allow_patterns: folder)
    assert load_source('hf:owner/name', None, None).num_classes == 3


def test_processor_that_does_more(folder, monkeypatch):
    monkeypatch.setattr(
        'mmbss.teachers.sources.huggingface._seen',
        lambda processor, colour, side=300: torch.full((3, 8, 8), float(colour[2]) ** 2),
    )
    with pytest.raises(ConfigError, match='does more'):
        load_source(f'hf:{folder}', None, None)


def test_it_may_be_accelerated_and_its_first_answer_is_compared(
    make_teacher, folder, pixels, to_student
):
    images = to_student(pixels(32))
    faster = make_teacher(f'hf:{folder}', acceleration=dict(channels_last=True))
    expected = make_teacher(f'hf:{folder}')(images)
    torch.testing.assert_close(faster(images), expected, atol=1e-4, rtol=1e-4)
    assert faster.network.forward.original is None
    wrong = make_teacher(f'hf:{folder}', acceleration=dict(channels_last=True))
    wrong.network.classifier.bias[0] += 1
    with pytest.raises(ConfigError, match='answers differently'):
        wrong(images)


def test_a_processor_that_leaves_sizes_alone_wants_none(
    make_teacher, vit, tmp_path, pixels, to_student
):
    vit.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(
        do_resize=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(tmp_path)
    teacher, images = make_teacher(f'hf:{tmp_path}'), pixels(32)
    assert teacher.input_size is None
    own = asked(transformers.AutoImageProcessor.from_pretrained(tmp_path), vit, images)
    torch.testing.assert_close(teacher(to_student(images)), own, atol=1e-4, rtol=0)
