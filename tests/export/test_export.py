import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmpretrain import ImageClassificationInferencer, get_model
from mmpretrain.models.utils import ClsDataPreprocessor
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.zoo import ZOO
from mmbss.export import export_student, formats, load_predictor
from mmbss.export.real_images import RealImages
from mmbss.export.student import class_names
from mmbss.registry import MODELS
from mmbss.studies.classifiers import load_classifier

MEAN, STD = 77.9, 95.9  # of the digits


@pytest.fixture(scope='module')
def student(digits_teacher):
    return load_classifier(digits_teacher, 'student').cpu()


@pytest.fixture(scope='module')
def logits(student, digit_files):
    with torch.no_grad():
        return student((torch.from_numpy(digit_files.pixels) - MEAN) / STD, mode='tensor').numpy()


def softmax(logits):
    return torch.from_numpy(logits).softmax(1).numpy()


@pytest.mark.parametrize('count', [1, 2, 12])
def test_onnx_takes_pixels_of_any_number_of_images(exported, digit_files, logits, count):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / 'student.onnx')
    assert session.get_inputs()[0].shape[0] == 'batch'
    answers = session.run(['logits'], dict(pixels=digit_files.pixels[:count]))[0]
    np.testing.assert_allclose(answers, logits[:count], atol=1e-4)
    said = session.get_modelmeta().custom_metadata_map
    assert said['channels'] == 'gray'
    assert said['height'] == said['width'] == '8'
    assert json.loads(said['classes'])[9] == 'digit 9'
    assert json.loads(said['mean']) == [MEAN]


def test_pt2_gives_the_same(exported, digit_files, logits):
    network = torch.export.load(exported / 'student.pt2').module()
    for count in (1, 12):
        answers = network(torch.from_numpy(digit_files.pixels[:count]))
        np.testing.assert_allclose(answers.detach().numpy(), logits[:count], atol=1e-5)


def test_weights_are_plain(exported, student):
    assert torch.serialization.get_unsafe_globals_in_checkpoint(exported / 'student.pth') == []
    content = torch.load(exported / 'student.pth', weights_only=True)
    assert content['meta']['dataset_meta']['classes'][3] == 'digit 3'
    state = student.state_dict()
    with safe_open(exported / 'student.safetensors', 'pt') as file:
        assert set(file.keys()) == set(content['state_dict']) == set(state)
        assert json.loads(file.metadata()['classes'])[3] == 'digit 3'
        for name, value in state.items():
            assert torch.equal(file.get_tensor(name), value)
            assert torch.equal(content['state_dict'][name], value)


def test_mmpretrain_reads_config_and_weights(exported, digit_files, logits):
    files = str(exported / 'student.py'), str(exported / 'student.pth')
    model = get_model(files[0], pretrained=files[1])
    assert model._dataset_meta['classes'][1] == 'digit 1'
    results = ImageClassificationInferencer(*files)([str(file) for file in digit_files.files])
    scores = np.stack([result['pred_scores'] for result in results])
    np.testing.assert_allclose(scores, softmax(logits), atol=1e-5)
    assert results[0]['pred_class'].startswith('digit')
    assert Config.fromfile(files[0]).custom_imports.imports == ['mmbss']
    assert json.loads((exported / 'export.json').read_text())['needs'] == ['mmbss']


def test_what_was_found_is_written_down(exported):
    figures = json.loads((exported / 'export.json').read_text())
    for name in ('student.onnx', 'student.pt2'):
        file = figures['files'][name]
        assert file['bytes'] == (exported / name).stat().st_size
        assert file['check']['images'] == 103
        assert file['check']['equal_decisions'] == 1
        assert file['check']['largest_difference'] < 1e-4 * file['check']['largest_logit']
        assert all(time > 0 for time in file['latency_ms'].values())
    assert figures['problems'] == {}
    assert figures['assumed'] is None


def test_the_card_says_what_is_known(exported):
    card = (exported / 'README.md').read_text()
    assert 'digit 0, digit 1' in card
    assert '| accuracy/top1 |' in card
    assert '- seed: 0\n' in card
    assert '`how it was`' in card
    assert 'Digits (split=train)' in card
    assert 'commit of the training: unknown' in card
    assert 'teacher:' not in card
    assert "{'pixels': pixels})[0]  # (N, 1, 8, 8)" in card


@pytest.mark.parametrize('wrong', ['answers', 'graph'])
def test_a_graph_that_is_not_the_student_is_taken_back(
    wrong, digits_teacher, tmp_path, monkeypatch
):
    write, opened = formats.GRAPHS['pt2']

    def other(path, threads):
        ask = opened(path, threads)
        return lambda images: ask(images)[:, ::-1]

    def fail(*args, **kwargs):
        raise RuntimeError('no such operator')

    if wrong == 'answers':
        monkeypatch.setitem(formats.GRAPHS, 'pt2', (write, other))
    else:
        monkeypatch.setattr(torch.export, 'export', fail)
    figures = export_student(
        *digits_teacher.values(), tmp_path / 'out', formats=['pth', 'pt2'], check_images=20
    )
    assert ('differ' if wrong == 'answers' else 'no such operator') in figures['problems']['pt2']
    assert not (tmp_path / 'out' / 'student.pt2').exists()
    assert (tmp_path / 'out' / 'student.pth').exists()
    card = (tmp_path / 'out' / 'README.md').read_text()
    assert '**No pt2:**' in card
    assert 'onnxruntime' not in card


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(formats=['tflite']), 'tflite'),
        (dict(formats=[]), 'choose among'),
        (dict(check_images=0), 'check_images'),
        (dict(classes=['one', 'two']), 'for 10 logits'),
        (dict(channels='bgr'), 'gray'),
        (dict(checkpoint='none.pth'), 'none.pth'),
        (dict(config='none.py'), 'none.py'),
        (dict(folder='.'), 'not empty'),
        (dict(formats=['onnx']), r'mmbss\[onnx\]'),
        (dict(opset=18), '--opset 18'),
        (dict(classes=[*'abcdefghi', 'j\nk']), 'one line'),
        (dict(classes=[*'abcdefghi', ' ']), 'one line'),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    changes, message, digits_teacher, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    arguments = dict(digits_teacher, folder=tmp_path / 'out', formats=['pth'])
    with pytest.raises(ConfigError, match=message):
        export_student(**dict(arguments, **changes))
    assert not (tmp_path / 'out').exists()


def test_an_opset_that_onnx_does_not_know_is_refused():
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    newest = onnx.defs.onnx_opset_version()
    formats.check_formats(('onnx',), newest)
    for opset in (0, newest + 1):
        with pytest.raises(ConfigError, match=f'1 to {newest}'):
            formats.check_formats(('onnx',), opset)


def test_a_graph_that_is_left_at_another_opset_is_not_kept(digits_teacher, tmp_path, capfd):
    pytest.importorskip('onnxruntime')
    figures = export_student(
        *digits_teacher.values(), tmp_path / 'out', formats=['onnx'], opset=7, check_images=1
    )
    assert 'has no form in 7' in figures['problems']['onnx']
    assert not (tmp_path / 'out' / 'student.onnx').exists()
    assert 'Traceback' not in capfd.readouterr().err


def test_classes_must_be_known_and_the_same(digits_teacher, tmp_path):
    content = torch.load(digits_teacher['checkpoint'])
    content['meta']['dataset_meta'] = dict(classes=list('abcdefghij'))
    torch.save(content, tmp_path / 'others.pth')
    arguments = dict(config=digits_teacher['config'], folder=tmp_path / 'out', formats=['pth'])
    with pytest.raises(ConfigError, match='trained on the classes a, b, c'):
        export_student(checkpoint=tmp_path / 'others.pth', **arguments)
    images = RealImages(torch.zeros(1, 1, 8, 8), None)
    with pytest.raises(ConfigError, match='--classes'):
        class_names(None, {}, images, 10)
    with pytest.raises(ConfigError, match='another order'):
        class_names(['b', 'a'], dict(dataset_meta=dict(classes=['a', 'b'])), images, 2)
    assert class_names(['x', 'y'], dict(dataset_meta=dict(classes=['a', 'b'])), images, 2)


@pytest.mark.parametrize('of_data', [False, True])
def test_a_name_that_stands_for_another_class_is_refused(of_data):
    known = ('air plane', 'bird', 'voiture')
    meta = {} if of_data else dict(dataset_meta=dict(classes=known))
    images = RealImages(torch.zeros(1, 3, 8, 8), known if of_data else None)
    for given in (['a', 'b', 'bird'], ['bird', 'air', 'car'], ['bird', 'air plane', 'voiture']):
        with pytest.raises(ConfigError, match=r'another order .*air plane, bird, voiture: .*bird'):
            class_names(given, meta, images, 3)
    for given in (['a', 'bird', 'c'], ['a', 'b', 'c'], [*known]):
        assert class_names(given, meta, images, 3) == tuple(given)
    twice = ('crane', 'maillot', 'crane')  # as ImageNet names its classes
    assert class_names(twice, dict(dataset_meta=dict(classes=twice)), images, 3) == twice


def test_what_a_checkpoint_should_not_hold(digits_teacher, tmp_path):
    content, path = torch.load(digits_teacher['checkpoint']), tmp_path / 'odd.pth'
    content['meta'] = dict(dataset_meta=dict(classes=5), epoch=torch.tensor(3), seed=1)
    torch.save(content, path)
    arguments = dict(config=digits_teacher['config'], checkpoint=path, formats=['safetensors'])
    figures = export_student(**arguments, folder=tmp_path / 'out')
    assert figures['trained'] == dict(seed=1)
    content['state_dict']['backbone.conv1.weight'][0] = torch.nan
    torch.save(content, path)
    with pytest.raises(ConfigError, match=r'NaN.*backbone\.conv1\.weight'):
        export_student(**arguments, folder=tmp_path / 'other')


@pytest.fixture(scope='module')
def folder_student(tmp_path_factory, write_config, build_model):
    """A student of mmpretrain's own parts on image files of several sizes, untrained."""
    folder = tmp_path_factory.mktemp('folder_student')
    generator = np.random.default_rng(0)
    for number, (name, size) in enumerate(
        [('ant', (40, 30)), ('bee', (33, 50)), ('bee', (20, 20))]
    ):
        (folder / 'images' / name).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'images' / name / f'{number}.png')
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='MobileNetV2', widen_factor=0.1),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=1280),
        data_preprocessor=dict(mean=[120, 110, 100], std=[60, 50, 40], to_rgb=True),
    )
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=36, edge='short'),
        dict(type='CenterCrop', crop_size=32),
        dict(type='PackInputs'),
    ]
    data = dict(type='CustomDataset', data_root=str(folder / 'images'), pipeline=pipeline)
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = dict(batch_size=2, num_workers=0, dataset=data, sampler=sampler)
    network = build_model(model).train()
    for module in network.modules():  # with other statistics it would say the same of all images
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network(torch.randn(32, 3, 32, 32), mode='tensor')
    torch.save(dict(state_dict=network.state_dict()), folder / 'student.pth')
    config = write_config(folder / 'config.py', dict(model=model, test_dataloader=loader))
    return dict(config=config, checkpoint=folder / 'student.pth')


def test_a_student_of_mmpretrain_alone_needs_no_mmbss(folder_student, tmp_path):
    figures = export_student(**folder_student, folder=tmp_path / 'out', formats=['safetensors'])
    config = tmp_path / 'out' / 'student.py'
    assert 'custom_imports' not in Config.fromfile(config)
    assert 'mmbss' not in config.read_text()
    assert figures['needs'] == []
    assert figures['interface']['channels'] == 'rgb'
    assert figures['interface']['classes'] == ['ant', 'bee']
    paths = sorted((folder_student['config'].parent / 'images').rglob('*.png'))
    exported = list(load_predictor(tmp_path / 'out')(paths))
    assert exported == list(load_predictor(*folder_student.values())(paths))
    assert len({each.ranked[0][1] for each in exported}) == 3


def test_a_preprocessor_that_does_more_than_normalise_leaves_nothing(
    digits_teacher, tmp_path, monkeypatch
):
    class Unit(BaseDataPreprocessor):
        def __init__(self, **kwargs):
            super().__init__()

        def forward(self, data, training=False):
            return dict(data, inputs=self.cast_data(data['inputs']).float() / 255)

    monkeypatch.setitem(MODELS.module_dict, 'Unit', Unit)
    config = Config.fromfile(digits_teacher['config'])
    config.data_preprocessor = dict(type='mmbss.Unit')
    with pytest.raises(ConfigError, match='data_preprocessor: Unit does something else'):
        export_student(config, digits_teacher['checkpoint'], tmp_path / 'out', formats=['pth'])
    assert not (tmp_path / 'out').exists()


def test_a_preprocessor_with_a_normalisation_of_its_own_is_written_out(
    digits_teacher, tmp_path, monkeypatch
):
    class Fixed(ClsDataPreprocessor):
        def __init__(self, **kwargs):
            super().__init__(mean=[MEAN], std=[STD], **kwargs)

    monkeypatch.setitem(MODELS.module_dict, 'Fixed', Fixed)
    config = Config.fromfile(digits_teacher['config'])
    config.data_preprocessor = dict(type='mmbss.Fixed')
    folder = tmp_path / 'out'
    export_student(config, digits_teacher['checkpoint'], folder, formats=['pth'], check_images=1)
    written = get_model(str(folder / 'student.py')).data_preprocessor
    assert (float(written.mean), float(written.std)) == pytest.approx((MEAN, STD))


def test_a_student_of_the_zoo_is_taken_by_its_name(root, tmp_path):
    name = 'segment-unlabelled_resnet8-w2_digits'
    figures = export_student(
        root / 'configs/baseline/resnet8-w2_1xb64-30e_digits.py',
        f'mmbss://{name}',
        tmp_path / 'out',
        formats=['safetensors'],
        check_images=1,
    )
    assert figures['checkpoint'] == f'mmbss://{name}'
    assert (tmp_path / 'out' / 'README.md').read_text().startswith(f'# {name}\n')
    written, shipped = (
        load_file(folder / 'student.safetensors') for folder in (tmp_path / 'out', ZOO / name)
    )
    assert all(torch.equal(written[key], value) for key, value in shipped.items())


def test_a_student_of_several_labels_is_refused(tmp_path, write_config, resnet_config, build_model):
    head = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=8)
    config = dict(model=dict(resnet_config(), head=head))
    torch.save(build_model(config['model']).state_dict(), tmp_path / 'student.pth')
    path = str(write_config(tmp_path / 'student.py', config))
    with pytest.raises(ConfigError, match='the student has a MultiLabelLinearClsHead'):
        export_student(path, tmp_path / 'student.pth', tmp_path / 'out', formats=['pth'])
