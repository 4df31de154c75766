import cv2
import numpy as np
import pytest
from PIL import Image

from mmbss.distil.images import read_image, read_images


@pytest.fixture
def read(tmp_path):
    def read(image, name='a.png', **options):
        image.save(tmp_path / name, **options)
        return read_image(tmp_path, name, 'a', 'train')

    return read


def test_size_and_colour(read, make_picture):
    found = read(make_picture(0))
    assert (found.width, found.height, found.error) == (8, 8, '')
    assert not any((found.is_grey, found.is_deep, found.has_alpha))


def test_grey_is_what_looks_grey(read, make_picture):
    grey = make_picture(0, mode='L')
    stored_in_colour = read(grey.convert('RGB'), 'b.png')
    assert read(grey).is_grey
    assert stored_in_colour.is_grey
    assert stored_in_colour.digest == read(grey).digest


def test_sixteen_bits(read):
    found = read(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000))
    assert found.is_deep
    assert found.is_grey


def test_sixteen_bits_in_colour(tmp_path):
    levels = np.arange(192, dtype=np.uint16).reshape(8, 8, 3) * 300
    cv2.imwrite(str(tmp_path / 'a.png'), levels)
    found = read_image(tmp_path, 'a.png', 'a', 'train')
    assert found.is_deep
    assert not found.is_grey


def test_what_shows_nothing(read, make_picture):
    assert read(Image.new('RGB', (8, 8), 'red')).is_flat
    assert read(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 40)).is_flat
    assert not read(make_picture(0)).is_flat


def test_turned_as_trainings_turn_it(read, make_picture):
    upright = make_picture(0, size=12).crop((0, 0, 8, 12))
    turned = Image.Exif()
    turned[0x112] = 6  # to be turned right by a quarter
    found = read(upright.rotate(90, expand=True), 'b.png', exif=turned)
    assert (found.width, found.height) == (8, 12)
    assert found.digest == read(upright).digest


def test_what_trainings_do_not_read(tmp_path, make_picture):
    make_picture(0).save(tmp_path / 'a.tga')
    (tmp_path / 'a.tga').rename(tmp_path / 'a.png')
    assert 'OpenCV' in read_image(tmp_path, 'a.png', 'a', 'train').error


@pytest.mark.parametrize('mode', ['RGBA', 'LA'])
def test_transparency(read, make_picture, mode):
    image = make_picture(0).convert(mode)
    assert not read(image).has_alpha
    image.putalpha(128)
    assert read(image).has_alpha


def test_digest_is_of_pixels_not_of_files(read, make_picture):
    first = read(make_picture(0), 'a.png')
    assert read(make_picture(0), 'b.bmp').digest == first.digest
    assert read(make_picture(1), 'c.png').digest != first.digest


def test_shape_counts_too(read):
    flat = read(Image.new('RGB', (4, 16)), 'a.png')
    assert read(Image.new('RGB', (16, 4)), 'b.png').digest != flat.digest


@pytest.mark.parametrize('content', [b'', b'no image', b'\x89PNG\r\n\x1a\n broken'])
def test_unreadable(tmp_path, content):
    (tmp_path / 'a.png').write_bytes(content)
    assert read_image(tmp_path, 'a.png', 'a', 'train').error


def test_cut_off(tmp_path, make_picture):
    make_picture(0, size=32).save(tmp_path / 'a.png')
    (tmp_path / 'a.png').write_bytes((tmp_path / 'a.png').read_bytes()[:-200])
    assert read_image(tmp_path, 'a.png', 'a', 'train').error


@pytest.mark.parametrize('size', [(1, 201), (402, 2)])
def test_too_long(tmp_path, size):
    Image.new('RGB', size).save(tmp_path / 'a.png')
    error = read_image(tmp_path, 'a.png', 'a', 'train').error
    assert error == f'{size[0]} x {size[1]} pixels are more than 200 times as long as wide'
    Image.new('RGB', (2, 400)).save(tmp_path / 'b.png')
    assert read_image(tmp_path, 'b.png', 'a', 'train').error == ''


def test_in_their_order(write_images):
    root = write_images({'a': 5})
    files = [(f'a/{row:03}.png', 'a', 'train') for row in (3, 0, 4)]
    found = read_images(root, files, threads=2)
    assert [each.path for each in found] == [path for path, _, _ in files]
