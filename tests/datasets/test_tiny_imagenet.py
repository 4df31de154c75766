"""A small folder in the layout of the published archive."""

import cv2
import numpy as np
import pytest

from mmbss.datasets import ArrayDataset, TinyImageNet
from mmbss.engine.errors import ConfigError, MissingFileError

WNIDS = ('n02124075', 'n01443537', 'n03355925')


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    root = tmp_path / 'tiny-imagenet-200'

    def write(path, grey=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        # flat colours, which JPEG keeps
        image = np.full((8, 8) if grey else (8, 8, 3), generator.integers(256, size=3)[0], np.uint8)
        if not grey:
            image[..., 2] = 255 - image[..., 2]  # red, in the order of OpenCV
        cv2.imwrite(str(path), image)

    for wnid in WNIDS:
        for number in range(3):
            write(root / 'train' / wnid / 'images' / f'{wnid}_{number}.JPEG', grey=number == 2)
        (root / 'train' / wnid / f'{wnid}_boxes.txt').write_text('x 0 0 7 7\n')
    lines = []
    for number, wnid in enumerate((*WNIDS, WNIDS[0])):
        write(root / 'val' / 'images' / f'val_{number}.JPEG')
        lines.append(f'val_{number}.JPEG\t{wnid}\t0\t0\t7\t7\n')
    (root / 'val' / 'val_annotations.txt').write_text(''.join(lines))
    (root / 'wnids.txt').write_text('\n'.join(WNIDS))
    return root


def test_reads_both_splits_as_the_files_are(folder):
    train, val = (TinyImageNet(str(folder), split) for split in ('train', 'val'))
    assert train.CLASSES == val.CLASSES == tuple(sorted(WNIDS))
    assert [info['gt_label'] for info in train.data_list] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    # in the order of the annotations, the classes in that of their names
    assert [info['gt_label'] for info in val.data_list] == [1, 0, 2, 1]
    for info, path in zip(train.data_list, sorted(folder.glob('train/*/images/*')), strict=True):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(info['img'], rgb)
    assert train[0]['inputs'].shape == (3, 8, 8)


def test_is_written_as_arrays(folder, call_tool, capsys):
    call_tool('dataset_to_npz', 'mmbss.TinyImageNet', folder)
    for split in ('train', 'val'):
        source, written = TinyImageNet(str(folder), split), ArrayDataset(f'{folder}/{split}.npz')
        assert written.CLASSES == source.CLASSES
        for ours, theirs in zip(written.data_list, source.data_list, strict=True):
            np.testing.assert_array_equal(ours['img'], theirs['img'])
            assert ours['gt_label'] == theirs['gt_label']
    assert 'train.npz: images (9, 8, 8, 3) uint8, 3 classes' in capsys.readouterr().out


def test_what_is_missing_or_wrong_is_named(folder, tmp_path):
    with pytest.raises(MissingFileError, match='unpack http'):
        TinyImageNet(str(tmp_path / 'none'), 'train')
    with pytest.raises(ConfigError, match="must be 'train' or 'val'"):
        TinyImageNet(str(folder), 'test')
    annotations = folder / 'val' / 'val_annotations.txt'
    annotations.write_text(annotations.read_text() + 'val_9.JPEG\tn0\t0\t0\t7\t7\n')
    with pytest.raises(ConfigError, match=r"val_annotations\.txt, line 5: 'n0' is no class"):
        TinyImageNet(str(folder), 'val')
    annotations.write_text('val_9.JPEG\tn01443537\n')
    with pytest.raises(ConfigError, match=r'cannot read the image .*val_9\.JPEG'):
        TinyImageNet(str(folder), 'val')
    first = next(folder.glob('train/*/images/*'))
    cv2.imwrite(str(first), np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match='is 8 x'):
        TinyImageNet(str(folder), 'train')
