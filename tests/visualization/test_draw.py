import numpy as np
import pytest
import torch
from PIL import Image

from mmbss.visualization.boundary_pairs import BoundaryPairs
from mmbss.visualization.draw_curves import (
    draw_accuracies,
    draw_accuracy_over_fraction,
    draw_curves,
    draw_margins,
)
from mmbss.visualization.draw_planes import (
    agreement,
    class_colours,
    draw_decision_planes,
    lead_on_grid,
    usual_size,
)
from mmbss.visualization.draw_samples import (
    draw_boundary_samples,
    perturbation_image,
    shown_classes,
    to_images,
)
from mmbss.visualization.style import BLUE, VERMILION, save_figure, to_svg


def texts(figure):
    """Every word in a picture."""
    return to_svg(figure)


# ---------------------------------------------------------------- curves


CURVES = {'kd': {1: [50.0, 60.0], 2: [70.0, 90.0]}, 'bss': {1: [55.0], 2: [85.0]}}


def test_curves_are_means_with_bands_and_labelled_axes():
    figure = draw_curves(CURVES, 'Validation', 'epoch', 'accuracy (%)')
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('epoch', 'accuracy (%)')
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines == {'kd': [[1, 55], [2, 80]], 'bss': [[1, 55], [2, 85]]}
    (band,) = axis.collections
    assert band.get_paths()[0].get_extents().bounds == pytest.approx((1, 50, 1, 40))
    assert [text.get_text() for text in figure.legends[0].texts] == ['kd', 'bss']


def test_the_legend_can_be_left_to_the_page():
    styles = dict(kd=(BLUE, '-'), bss=(VERMILION, '--'))
    assert not draw_curves(CURVES, '', 'epoch', 'accuracy (%)', styles).legends


def test_equal_lines_do_not_hide_each_other(tmp_path):
    same = {x: [0.5] for x in range(40)}
    figure = draw_curves(dict(kd=same, bss=same), '', 'epoch', '', shares=True)
    assert figure.axes[0].get_ylim() == pytest.approx((0, 1), abs=0.05)
    save_figure(figure, tmp_path / 'lines.png')
    pixels = np.asarray(Image.open(tmp_path / 'lines.png').convert('RGB')).reshape(-1, 3).tolist()
    seen = [pixels.count([*bytes.fromhex(colour[1:])]) for colour in (BLUE, VERMILION)]
    assert min(seen) > 50


def test_each_run_has_a_dot_and_several_their_mean():
    figure = draw_accuracies({'kd': [90.0, 92.0], 'bss': [93.0]}, 'accuracy (%)')
    (axis,) = figure.axes
    assert axis.get_xlabel() == 'accuracy (%)'
    assert [line.get_xdata().tolist() for line in axis.lines] == [
        [90.0, 92.0], [91.0, 91.0], [93.0]
    ]  # fmt: skip
    assert all(name in texts(figure) for name in ('kd', 'bss'))


def test_fractions_are_drawn_in_percent():
    figure = draw_accuracy_over_fraction({'kd': {1.0: [80.0], 0.1: [60.0]}}, 'accuracy (%)')
    (axis,) = figure.axes
    assert axis.get_xlabel() == 'training samples used (%)'
    assert axis.get_ylabel() == 'accuracy (%)'
    assert axis.lines[0].get_xydata().tolist() == [[10, 60], [100, 80]]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ['10', '100']


def test_histograms_add_up_and_hold_the_outliers():
    margins = dict(teacher=torch.zeros(10), kd=torch.tensor([-1.0, 0.5, 2.0, 400.0]))
    figure = draw_margins(margins)
    assert len(figure.axes) == 2
    for axis in figure.axes:
        assert sum(bar.get_height() for bar in axis.patches) == pytest.approx(100)
    assert 'logits' in figure.axes[-1].get_xlabel()
    assert 'median |margin| 1.50' in texts(figure)


@pytest.mark.parametrize('margins', [torch.zeros(3), torch.zeros(1)])
def test_margins_that_are_all_zero_are_drawn(margins):
    assert draw_margins(dict(teacher=margins)).axes


# ---------------------------------------------------------------- planes


@pytest.fixture
def grids():
    """A teacher that splits the window at the middle, and a student that splits it elsewhere."""
    x = torch.linspace(-1, 1, 21)
    across = x.expand(21, 21)
    logits = [
        torch.stack([0 * across, across - shift, 0 * across - 9], dim=2) for shift in (0, 0.5)
    ]
    return dict(teacher=logits[0], student=logits[1]), x


def test_the_lead_is_that_over_the_best_other_class():
    logits = torch.randn(3, 4, 5)
    lead = lead_on_grid(logits, base=2)
    for row in range(3):
        for column in range(4):
            values = logits[row, column].tolist()
            best = max(value for label, value in enumerate(values) if label != 2)
            assert lead[row, column].item() == pytest.approx(values[2] - best, abs=1e-6)


def test_the_agreement_is_the_share_of_equal_decisions(grids):
    logits, _ = grids
    assert agreement(logits['teacher'], logits['teacher']) == 1
    assert agreement(logits['teacher'], logits['student']) == pytest.approx(16 / 21)


def test_the_base_class_has_the_first_colour_and_absent_classes_none(grids):
    logits, _ = grids
    colours = class_colours(list(logits.values()), [1])
    assert list(colours) == [1, 0]
    assert len(set(colours.values())) == 2


def test_more_classes_than_colours_end_in_grey():
    logits = torch.eye(12).view(3, 4, 12)
    colours = class_colours([logits], [5])
    assert len(colours) == 12
    assert len(set(colours.values())) == 9


def test_planes_are_labelled_and_name_their_regions_and_points(grids):
    logits, x = grids
    points = {'base sample': torch.tensor([-0.5, 0.0]), 'boundary sample': torch.zeros(2)}
    figure = draw_decision_planes(logits, x, x, points, 0, ['cat', 'dog', 'eel'])
    words = texts(figure)
    for word in ('teacher', 'student', 'cat', 'dog', 'base sample', 'normalised pixels'):
        assert f'>{word}' in words or word in figure.axes[0].get_ylabel()
    assert 'agrees on 75%' in words or 'agrees on 76%' in words
    assert '>eel<' not in words, 'a class that nobody decides for'
    assert figure.get_supxlabel().endswith('(normalised pixels)')
    assert all(axis.get_xlim() == (-1, 1) for axis in figure.axes)


def test_many_networks_take_several_lines(grids):
    logits, x = grids
    many = {f'student {index}': logits['student'] for index in range(5)}
    figure = draw_decision_planes(many, x, x, {'base sample': torch.zeros(2)}, 0, ['a', 'b', 'c'])
    assert [axis.get_visible() for axis in figure.axes] == [True] * 5 + [False]
    labelled = [bool(axis.get_ylabel()) for axis in figure.axes[:5]]
    assert labelled == [True, False, False, True, False]


def test_of_many_numbers_the_usual_size_is_known():
    ones = torch.ones(2**23)
    assert usual_size([ones, -3 * ones, ones.new_zeros(2**23)]) == 3


def test_one_class_everywhere_is_drawn_without_a_boundary(grids):
    _, x = grids
    alone = torch.tensor([1.0, 0.0]).expand(21, 21, 2)
    figure = draw_decision_planes({'teacher': alone}, x, x, {'base': torch.zeros(2)}, 0, ['a', 'b'])
    assert '>a<' in texts(figure)


# ---------------------------------------------------------------- samples


def test_pixels_come_back_from_normalised_images():
    images = torch.rand(2, 3, 4, 5)
    mean, std = torch.rand(3, 1, 1), 0.5 + torch.rand(3, 1, 1)
    pixels = to_images((images - mean) / std, (-mean / std, (1 - mean) / std))
    assert pixels.shape == (2, 4, 5, 3)
    assert np.allclose(pixels, images.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_the_largest_change_becomes_black_or_white():
    base = np.full((2, 2, 1), 0.5, dtype=np.float32)
    change = np.array([[0.1, -0.05], [0.0, 0.02]], dtype=np.float32)[..., None]
    image, factor = perturbation_image(base, base + change)
    assert factor == pytest.approx(5.0)
    assert np.allclose(image, 0.5 + 5 * change, atol=1e-5)
    unchanged, _ = perturbation_image(base, base)
    assert (unchanged == 0.5).all()


def test_base_and_target_come_first_then_the_most_probable():
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.2, 0.25])
    assert shown_classes(probabilities, base=2, target=0) == [2, 0, 1, 4]
    assert shown_classes(torch.tensor([0.9, 0.1]), base=0, target=1) == [0, 1]


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_a_picture_shows_both_samples_the_change_and_the_answers(channels):
    pairs = BoundaryPairs(
        base_samples=torch.full((2, channels, 4, 4), 0.5),
        boundary_samples=torch.full((2, channels, 4, 4), 0.6),
        base=torch.tensor([0, 1]),
        target=torch.tensor([2, 0]),
    )
    weights = torch.randn(channels * 16, 3)
    networks = dict(teacher=lambda x: x.flatten(1) @ weights, kd=lambda x: x.flatten(1) @ -weights)
    figure = draw_boundary_samples(pairs, networks, (0.0, 1.0), ['cat', 'dog', 'eel'])
    assert len(figure.axes) == 10
    length = 0.1 * (16 * channels) ** 0.5
    assert figure.axes[1].get_xlabel() == f'x 5, length {length:.3f}'
    assert figure.axes[2].get_xlabel() == 'toward eel'
    before, after = figure.axes[3], figure.axes[4]
    assert [tick.get_text() for tick in before.get_yticklabels()] == ['cat', 'eel', 'dog']
    for axis, pixel in ((before, 0.5), (after, 0.6)):
        logits = torch.full((1, channels * 16), pixel) @ weights
        expected = logits.softmax(dim=1)[0, [0, 2, 1]].tolist()
        widths = [bar.get_width() for bar in axis.containers[0]]
        assert widths == pytest.approx(expected, abs=1e-5)
    assert figure.axes[8].get_xlabel() == figure.axes[9].get_xlabel() == 'probability'
