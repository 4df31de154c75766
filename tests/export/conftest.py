"""One export of a digits student with all formats, read by many tests."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmbss.datasets import Digits
from mmbss.export import export_student, measures

NAMES = tuple(f'digit {number}' for number in range(10))


@pytest.fixture(scope='session', autouse=True)
def quick_clock():
    """Spare the tests most of the calls that are timed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, 'SECONDS', (0.0, 1e-9))
        yield


@pytest.fixture(scope='session')
def exported(digits_teacher, tmp_path_factory):
    """Folder with all that is exported of the digits' teacher; its classes have other names."""
    pytest.importorskip('onnxruntime')
    folder = tmp_path_factory.mktemp('exported') / 'student'
    export_student(
        *digits_teacher.values(), folder, check_images=103, classes=NAMES, command='how it was'
    )
    return folder


@pytest.fixture(scope='session')
def digit_files(tmp_path_factory):
    """Twelve test digits as files, with their pixels, (N, 1, 8, 8)."""
    folder = tmp_path_factory.mktemp('digits')
    arrays = [Digits('test').get_data_info(row)['img'] for row in range(12)]
    for row, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f'{row:02d}.png')
    pixels = np.stack(arrays)[:, None].astype(np.float32)
    return SimpleNamespace(folder=folder, files=sorted(folder.glob('*.png')), pixels=pixels)
