import numpy as np
import pytest
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from mmbss.datasets import ArrayDataset


class InMemory(BaseDataset):
    """A dataset of mmpretrain's kind, such as CIFAR10 is."""

    METAINFO = dict(classes=('cat', 'dog'))

    def __init__(self, data_root, split, test_mode, pipeline):
        self.count = dict(train=6, test=3)[split]
        assert test_mode is (split == 'test')
        super().__init__('', data_root=data_root, pipeline=pipeline, test_mode=test_mode)

    def load_data_list(self):
        images = np.arange(self.count * 12, dtype=np.uint8).reshape(self.count, 2, 2, 3)
        return [dict(img=image, gt_label=row % 2) for row, image in enumerate(images)]


class OnDisk(InMemory):
    def load_data_list(self):
        return [dict(img_path='a.png', gt_label=0)]


@pytest.fixture(params=[InMemory, OnDisk])
def dataset(request):
    DATASETS.register_module(module=request.param)
    yield request.param
    DATASETS.module_dict.pop(request.param.__name__)


@pytest.mark.parametrize('dataset', [InMemory], indirect=True)
def test_both_splits_are_written_and_read_again(dataset, call_tool, tmp_path, capsys):
    call_tool('dataset_to_npz', 'InMemory', tmp_path)
    for split, count in (('train', 6), ('test', 3)):
        source = InMemory(str(tmp_path), split, split == 'test', [])
        read = ArrayDataset(str(tmp_path / f'{split}.npz'))
        assert len(read) == count
        assert read.CLASSES == ('cat', 'dog')
        for row in range(count):
            ours, theirs = read.get_data_info(row), source.get_data_info(row)
            np.testing.assert_array_equal(ours['img'], theirs['img'])
            assert ours['gt_label'] == theirs['gt_label']
    assert 'train.npz: images (6, 2, 2, 3) uint8, 2 classes' in capsys.readouterr().out


@pytest.mark.parametrize('dataset', [InMemory], indirect=True)
def test_files_that_are_there_are_kept(dataset, call_tool, tmp_path):
    (tmp_path / 'test.npz').write_text('mine')
    with pytest.raises(SystemExit, match=r'test\.npz is there already: remove it'):
        call_tool('dataset_to_npz', 'InMemory', tmp_path)
    assert (tmp_path / 'test.npz').read_text() == 'mine'
    assert not (tmp_path / 'train.npz').exists()


@pytest.mark.parametrize('dataset', [OnDisk], indirect=True)
def test_a_dataset_of_files_is_refused(dataset, call_tool, tmp_path):
    with pytest.raises(SystemExit, match='OnDisk does not hold its images in memory'):
        call_tool('dataset_to_npz', 'OnDisk', tmp_path)


def test_an_unknown_dataset_is_named(call_tool, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: NoSuchData: .* is not in'):
        call_tool('dataset_to_npz', 'NoSuchData', tmp_path)


@pytest.mark.parametrize('name', ['', '.', 'mmpretrain.', 'a b'])
def test_what_is_no_name_is_refused(name, call_tool, tmp_path):
    with pytest.raises(SystemExit, match='is no name of a dataset'):
        call_tool('dataset_to_npz', name, tmp_path)
