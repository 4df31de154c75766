from dataclasses import replace

import pytest
from mmengine.config import Config
from torch import nn

from mmbss.export.deployed import Interface
from mmbss.export.plain_config import (
    file_pipeline,
    imports_of,
    needed_packages,
    plain_config,
    without_pretrained,
)

GREY = Interface(('a', 'b'), 'gray', 8, 6, (0.0,), (1.0,))
COLOUR = replace(GREY, channels='bgr')
LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')


def kinds(transforms):
    return [each['type'] for each in transforms]


def test_arrays_become_files():
    bare = file_pipeline([], COLOUR, None)
    assert kinds(bare) == ['LoadImageFromFile', 'Resize', 'PackInputs']
    assert bare[1]['scale'] == (6, 8), 'width, then height'
    crop = dict(type='CenterCrop', crop_size=4)
    assert file_pipeline([crop, PACK], COLOUR, (10, 12))[1:] == [
        dict(type='Resize', scale=(12, 10)),
        crop,
        PACK,
    ]


@pytest.mark.parametrize('kind', ['CenterCrop', 'ResizeEdge', 'torchvision/Resize'])
def test_files_stay_as_they_are_where_any_size_is_taken(kind):
    transforms = [LOAD, dict(type=kind), PACK]
    assert file_pipeline(transforms, COLOUR, (8, 6)) == transforms


def test_files_that_had_one_size_are_given_it():
    resize, pad = dict(type='Resize', scale=(5, 4)), dict(type='Pad', size=(6, 8))
    assert file_pipeline([LOAD, pad, PACK], COLOUR, (4, 5)) == [LOAD, resize, pad, PACK]
    assert file_pipeline([LOAD, pad, PACK], COLOUR, None) == [LOAD, pad, PACK]


def test_grey_is_read_as_in_the_training_where_it_says_how():
    load = dict(type='LoadImageFromFile', color_type='grayscale')
    assert file_pipeline([load, PACK], GREY, None, keeps_reader=True) == [load, PACK]
    of_colours = file_pipeline([LOAD, PACK], GREY, None, keeps_reader=True)
    assert 'torchvision/Grayscale' in kinds(of_colours)


def test_grey_is_made_of_colour():
    load = dict(type='LoadImageFromFile', color_type='grayscale')
    resize = dict(type='Resize', scale=(6, 8))
    pipeline = file_pipeline([load, resize, PACK], GREY, (9, 9))
    assert pipeline[0] == LOAD
    assert kinds(pipeline[1:]) == [
        'NumpyToPIL',
        'torchvision/Grayscale',
        'PILToNumpy',
        'Resize',
        'PackInputs',
    ]


def test_only_what_lasts_is_left():
    model = dict(
        type='mmbss.Distiller',
        teacher=dict(config='gone.py', checkpoint='gone.pth'),
        losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
        acceleration=dict(channels_last=True),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
        backbone=dict(type='X', init_cfg=dict(type='Pretrained', checkpoint='imagenet.pth')),
    )
    # one of somebody's own may have its mean and std from elsewhere
    preprocessor = dict(type='mine.Own', pad_value=3, crop_padding=4)
    config = Config(dict(model=model, data_preprocessor=preprocessor))
    normalised = replace(COLOUR, channels='rgb', mean=(1.0,), std=(2.0,))
    plain = plain_config(config, nn.Identity(), normalised)
    assert plain.model.to_dict() == dict(
        type='ImageClassifier',
        backbone=dict(type='X'),
        data_preprocessor=dict(
            type='ClsDataPreprocessor', mean=[1.0], std=[2.0], pad_value=3, to_rgb=True
        ),
    )
    assert plain.test_dataloader.dataset.metainfo.classes == ['a', 'b']
    bgr = plain_config(config, nn.Identity(), COLOUR)
    assert bgr.model.data_preprocessor.to_rgb is False


def test_nothing_is_downloaded_for_a_student_with_weights():
    cases = [
        (dict(type='TIMMBackbone', pretrained=True), dict(type='TIMMBackbone', pretrained=False)),
        (dict(pretrained='weights.pth'), dict(pretrained=None)),
        (dict(pretrained=False), dict(pretrained=False)),
        (
            [dict(init_cfg=[dict(type='Kaiming'), dict(type='Pretrained', checkpoint='a.pth')])],
            [dict(init_cfg=[dict(type='Kaiming')])],
        ),
    ]
    for given, right in cases:
        assert without_pretrained(given) == right


@pytest.mark.parametrize('imports', [['mmbss', 'mine.nets', 'other'], 'mine.nets', []])
def test_packages_that_must_be_there(imports):
    class Own(nn.Module):
        pass

    Own.__module__ = 'mine.nets'
    network = nn.Sequential(nn.Linear(2, 2), Own())
    network.data_preprocessor = Own()
    assert needed_packages(network, [PACK]) == {'mine'}
    network[1] = nn.ReLU()
    assert needed_packages(network, [PACK, dict(type='NoSuchTransform')]) == set()
    config = Config(dict(custom_imports=dict(imports=imports)))
    assert imports_of(config, ['mine']) == (['mine.nets'] if imports else ['mine'])


def test_channels_are_turned_where_the_pipeline_has_not_done_it():
    def to_rgb(interface, *transforms):
        pipeline = [dict(type='LoadImageFromFile'), *transforms, dict(type='PackInputs')]
        loader = dict(dataset=dict(type='Any', pipeline=pipeline))
        config = Config(dict(model=dict(type='ImageClassifier'), test_dataloader=loader))
        return plain_config(config, nn.Identity(), interface).model.data_preprocessor.to_rgb

    turns, back = dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy', to_bgr=True)
    rgb = replace(COLOUR, channels='rgb')
    assert [to_rgb(rgb), to_rgb(rgb, turns), to_rgb(rgb, turns, back)] == [True, False, True]
    assert [to_rgb(COLOUR), to_rgb(COLOUR, turns)] == [False, True]
    assert not to_rgb(GREY)  # which colours are made into, by way of RGB
