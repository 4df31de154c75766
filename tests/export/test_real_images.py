import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models.utils import ClsDataPreprocessor
from PIL import Image

from mmbss.engine.errors import ConfigError
from mmbss.engine.pipelines import transforms_of
from mmbss.export.real_images import channels_of, read_real_images

FILES = [dict(type='mmpretrain.LoadImageFromFile')]
PACK = dict(type='PackInputs')
TURNS = dict(type='NumpyToPIL', to_rgb=True)


@pytest.mark.parametrize(
    ('transforms', 'to_rgb', 'count', 'given', 'order'),
    [
        (FILES, True, 3, None, 'rgb'),
        (FILES, False, 3, None, 'bgr'),
        ([], True, 3, 'rgb', 'rgb'),
        ([], True, 3, 'bgr', 'bgr'),
        ([], False, 3, 'bgr', 'bgr'),
        ([], False, 3, 'rgb', 'rgb'),
        ([], True, 1, None, 'gray'),
        ([], False, 4, None, 'data'),
        (FILES, False, 3, 'bgr', 'bgr'),
        ([*FILES, TURNS], False, 3, None, 'rgb'),
        ([*FILES, TURNS], True, 3, None, 'bgr'),
        ([*FILES, TURNS, dict(type='PILToNumpy', to_bgr=True)], True, 3, None, 'rgb'),
    ],
)
def test_the_order_of_channels_that_is_known(transforms, to_rgb, count, given, order):
    preprocessor = ClsDataPreprocessor(to_rgb=to_rgb)
    assert channels_of(transforms, preprocessor, count, given) == (order, None)


@pytest.mark.parametrize(
    ('to_rgb', 'wanted', 'other'), [(False, 'rgb', 'bgr'), (True, 'bgr', 'rgb')]
)
def test_the_order_of_channels_that_is_not(to_rgb, wanted, other):
    order, assumed = channels_of([], ClsDataPreprocessor(to_rgb=to_rgb), 3, None)
    assert order == wanted
    assert f'--channels {other}' in assumed
    with pytest.raises(ConfigError, match='bgr'):
        channels_of(FILES, ClsDataPreprocessor(), 3, 'rgb')


@pytest.fixture
def arrays(tmp_path):
    """Config of six colour images, and their pixels, (N, H, W, C)."""
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / 'test.npz', images=images, labels=np.arange(6) % 2, classes=['a', 'b'])
    data = dict(type='mmbss.ArrayDataset', data_file=str(tmp_path / 'test.npz'))
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = dict(batch_size=4, num_workers=2, persistent_workers=True, sampler=sampler)
    return Config(dict(test_dataloader=dict(loader, dataset=data))), images


@pytest.mark.parametrize('to_rgb', [False, True])
def test_pixels_come_in_the_order_of_the_network(arrays, to_rgb):
    config, images = arrays
    read = read_real_images(config, ClsDataPreprocessor(to_rgb=to_rgb), 3)
    right = torch.from_numpy(images[[0, 2, 5]]).permute(0, 3, 1, 2).float()
    assert torch.equal(read.pixels, right.flip(1) if to_rgb else right)
    assert read.classes == ('a', 'b')


def test_images_of_several_sizes_are_refused(arrays):
    config, _ = arrays
    config.test_dataloader.dataset.pipeline = [
        dict(type='RandomResize', scale=(8, 8), ratio_range=(0.5, 3)),
        dict(type='PackInputs'),
    ]
    config.test_dataloader.collate_fn = dict(type='pseudo_collate')
    with pytest.raises(ConfigError, match='sizes'):
        read_real_images(config, ClsDataPreprocessor(), 6)


def test_the_pipeline_of_a_wrapped_data_set():
    inner = dict(type='A', pipeline=FILES)
    for dataset in (inner, dict(type='B', dataset=inner), dict(type='C', datasets=[inner, inner])):
        assert transforms_of(Config(dict(val_dataloader=dict(dataset=dataset)))) == FILES
    assert transforms_of(Config(dict(val_dataloader=dict(dataset=dict(type='A'))))) == []


def test_sizes_before_the_pipeline(arrays, tmp_path):
    config, images = arrays
    assert read_real_images(config, ClsDataPreprocessor(), 3).stored == (4, 5)
    for row, image in enumerate(images):
        (tmp_path / f'{row % 2}').mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / f'{row % 2}' / f'{row}.png')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Pad', size=(8, 8)), PACK]
    config.test_dataloader.dataset = dict(
        type='CustomDataset', data_root=str(tmp_path), pipeline=pipeline
    )
    read = read_real_images(config, ClsDataPreprocessor(), 3)
    assert (read.pixels.shape, read.stored) == ((3, 3, 8, 8), (4, 5))
    Image.fromarray(images[0, :3]).save(tmp_path / '0' / '0.png')
    assert read_real_images(config, ClsDataPreprocessor(), 3).stored is None
    pipeline.pop(1)
    config.test_dataloader.dataset.pipeline = pipeline
    config.test_dataloader.collate_fn = dict(type='pseudo_collate')
    read = read_real_images(config, ClsDataPreprocessor(), 6, one_size=False)
    assert (read.pixels.shape, read.stored) == ((1, 3, 3, 5), None)


@pytest.mark.parametrize(('mean', 'std'), [(0.0, 255.0), (120.0, 60.0)], ids=['unit', 'normal'])
def test_images_that_the_pipeline_normalises_are_refused(arrays, mean, std):
    config, _ = arrays
    config.test_dataloader.dataset.pipeline = [
        dict(type='Normalize', mean=[mean] * 3, std=[std] * 3, to_rgb=False),
        dict(type='PackInputs'),
    ]
    with pytest.raises(ConfigError, match=r'^test_dataloader: images have pixels from .*data_prep'):
        read_real_images(config, ClsDataPreprocessor(), 6)


def test_images_of_0_to_1_become_pixels_in_the_pipeline(arrays):
    config, images = arrays
    config.test_dataloader.dataset.pipeline = [
        dict(type='Normalize', mean=[0, 0, 0], std=[255] * 3, to_rgb=False),
        dict(type='Normalize', mean=[0, 0, 0], std=[1 / 255] * 3, to_rgb=False),
        dict(type='PackInputs'),
    ]
    read = read_real_images(config, ClsDataPreprocessor(), 6)
    torch.testing.assert_close(read.pixels, torch.from_numpy(images).permute(0, 3, 1, 2).float())


def test_what_is_no_picture_has_a_unit_of_its_own(tmp_path):
    bands = np.random.default_rng(0).integers(0, 10_000, (6, 4, 5, 8), dtype=np.int32)
    np.savez(tmp_path / 'test.npz', images=bands, labels=np.arange(6) % 2)
    data = dict(type='mmbss.ArrayDataset', data_file=str(tmp_path / 'test.npz'))
    loader = dict(batch_size=4, dataset=data, sampler=dict(type='DefaultSampler', shuffle=False))
    config = Config(dict(test_dataloader=dict(loader, num_workers=0)))
    read = read_real_images(config, ClsDataPreprocessor(), 6)
    assert torch.equal(read.pixels, torch.from_numpy(bands).permute(0, 3, 1, 2).float())
