import re
import xml.etree.ElementTree as ET

import pytest

from mmbss.visualization.style import (
    DARK_INK,
    INK,
    line_style,
    new_figure,
    save_figure,
    to_svg,
)


@pytest.fixture
def figure():
    figure, (axis,) = new_figure(3.0, 2.0)
    axis.plot([0, 1], [1, 0])
    axis.set(xlabel='epoch', ylabel='a < b & c')
    return figure


def test_a_light_and_a_dark_picture_differ_in_ink_alone(figure):
    light, dark = to_svg(figure, 'light'), to_svg(figure, 'dark')
    assert INK in light
    assert INK not in dark
    assert light.replace(INK, DARK_INK) == dark


def test_an_automatic_picture_follows_the_reader(figure):
    svg = to_svg(figure)
    assert f'svg{{color:{INK}}}' in svg
    assert f'@media(prefers-color-scheme:dark){{svg{{color:{DARK_INK}}}' in svg
    assert svg.count(INK) == 1
    assert 'fill: currentColor' in svg


def test_the_file_is_small_sound_and_always_the_same(figure):
    svg = to_svg(figure)
    root = ET.fromstring(svg)
    words = [text.text for text in root.iter('{http://www.w3.org/2000/svg}text')]
    assert 'a < b & c' in words, 'text stays text'
    assert '<metadata>' not in svg
    assert 'DejaVu' not in svg
    assert 'href="http' not in svg
    assert to_svg(figure) == svg


def test_an_unknown_theme_is_refused(figure):
    with pytest.raises(ValueError, match=r"theme must be one of .*, got 'sepia'"):
        to_svg(figure, 'sepia')


@pytest.mark.parametrize(
    ('suffix', 'start'), [('svg', b'<svg'), ('png', b'\x89PNG'), ('pdf', b'%PDF')]
)
def test_the_name_of_the_file_chooses_the_format(figure, tmp_path, suffix, start):
    path = tmp_path / 'new' / f'picture.{suffix}'
    save_figure(figure, path)
    assert path.read_bytes().startswith(start)


def test_other_formats_are_refused(figure, tmp_path):
    with pytest.raises(ValueError, match=r'picture\.bmp: a picture ends in \.svg'):
        save_figure(figure, tmp_path / 'picture.bmp')


def test_lines_can_be_told_apart():
    styles = [line_style(index) for index in range(28)]
    assert len(set(styles)) == 28
    assert all(re.fullmatch('#[0-9a-f]{6}', colour) for colour, _ in styles)
