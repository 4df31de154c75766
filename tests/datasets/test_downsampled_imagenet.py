"""Small files in the layouts of the published ones."""

import pickle

import numpy as np
import pytest

from mmbss.datasets import ArrayDataset, DownsampledImageNet
from mmbss.engine.errors import ConfigError, MissingFileError

SIDE = 4


def batch(count, seed):
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, (count, 3 * SIDE * SIDE), dtype=np.uint8)
    labels = (1 + (np.arange(count) + seed) % 3).tolist()
    return dict(data=data, labels=labels, mean=data.mean(axis=0))


def plain(content):
    """Pixel by pixel: a row of red, then of green, then of blue."""
    images = np.zeros((len(content['data']), SIDE, SIDE, 3), np.uint8)
    for n, row in enumerate(content['data']):
        for channel in range(3):
            for y in range(SIDE):
                for x in range(SIDE):
                    images[n, y, x, channel] = row[channel * SIDE * SIDE + y * SIDE + x]
    return images


CONTENTS = {f'train_data_batch_{n}': batch(2 + n % 2, n) for n in range(1, 11)}
CONTENTS['val_data'] = batch(4, 99)


@pytest.fixture(params=['pickle', 'npz'])
def folder(request, tmp_path):
    for name, content in CONTENTS.items():
        if request.param == 'npz':
            np.savez(tmp_path / f'{name}.npz', **content)
        else:
            (tmp_path / name).write_bytes(pickle.dumps(content, protocol=3))
    return tmp_path


def test_reads_images_and_labels_as_they_are_published(folder):
    train = DownsampledImageNet(str(folder), 'train')
    contents = [CONTENTS[f'train_data_batch_{n}'] for n in range(1, 11)]
    images = np.concatenate([plain(content) for content in contents])
    labels = [label - 1 for content in contents for label in content['labels']]
    for info, image, label in zip(train.data_list, images, labels, strict=True):
        np.testing.assert_array_equal(info['img'], image)
        assert info['gt_label'] == label
    assert train.CLASSES is None
    assert train[0]['inputs'].shape == (3, SIDE, SIDE)
    assert len(DownsampledImageNet(str(folder), 'val')) == 4


def test_classes_are_those_of_the_published_list(folder):
    (folder / 'map_clsloc.txt').write_text('n3 2 dog\nn1 1 kit_fox\nn2 3 cat\n')
    assert DownsampledImageNet(str(folder), 'val').CLASSES == ('n1', 'n3', 'n2')
    (folder / 'map_clsloc.txt').write_text('n3 2 dog\nn1\n')
    with pytest.raises(ConfigError, match=r"map_clsloc\.txt, line 2: 'n1'"):
        DownsampledImageNet(str(folder), 'val')
    (folder / 'map_clsloc.txt').write_text('n3 2 dog\n')
    with pytest.raises(ConfigError, match='leaves numbers'):
        DownsampledImageNet(str(folder), 'val')


def test_is_written_as_arrays(folder, call_tool):
    call_tool('dataset_to_npz', 'mmbss.DownsampledImageNet', folder)
    for split in ('train', 'val'):
        source = DownsampledImageNet(str(folder), split)
        written = ArrayDataset(f'{folder}/{split}.npz')
        assert written.CLASSES is None
        for ours, theirs in zip(written.data_list, source.data_list, strict=True):
            np.testing.assert_array_equal(ours['img'], theirs['img'])
            assert ours['gt_label'] == theirs['gt_label']


class Runs:
    """Would call a function when it is unpickled."""

    def __reduce__(self):
        return print, ('it ran',)


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (dict(batch(2, 0), extra=Runs()), 'names .*print'),
        ([1, 2], 'holds a list'),
        (dict(labels=[1]), "'data'"),
        (dict(batch(2, 0), labels=[0, 1]), 'labels begin at 1'),
        (dict(batch(2, 0), labels=[1, 2, 3]), 'no file of downsampled images'),
        (dict(batch(2, 0), data=np.zeros((2, 48))), 'whole numbers'),
    ],
)
def test_anything_else_is_refused_and_nothing_runs(tmp_path, content, match, capsys):
    (tmp_path / 'val_data').write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(ConfigError, match=match):
        DownsampledImageNet(str(tmp_path), 'val')
    assert 'it ran' not in capsys.readouterr().out


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match='train_data_batch_1'):
        DownsampledImageNet(str(tmp_path), 'train')
    whole = pickle.dumps(CONTENTS['val_data'], protocol=3)
    (tmp_path / 'val_data').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r'cannot read .*val_data'):
        DownsampledImageNet(str(tmp_path), 'val')
