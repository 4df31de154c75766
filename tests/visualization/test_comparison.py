import numpy as np
import pytest

from mmbss.visualization.comparison import draw_comparison

VALUES = {'kd_a': [90.0, 92.0, 91.0], 'bss_a': [93.0]}


def test_every_seed_and_every_mean_is_drawn():
    axes = draw_comparison(VALUES, 'accuracy (%)').axes[0]
    dots = [line for line in axes.lines if line.get_marker() == 'o']
    assert [line.get_xdata().tolist() for line in dots] == [[90.0, 92.0, 91.0], [93.0]]
    bars = [container[0].get_xdata()[0] for container in axes.containers]
    assert np.allclose(bars, [91.0, 93.0])


def test_the_bar_is_the_standard_deviation_over_the_seeds():
    axes = draw_comparison(VALUES, 'accuracy (%)').axes[0]
    _, (low, high), _ = axes.containers[0]
    assert (high.get_xdata()[0] - low.get_xdata()[0]) / 2 == pytest.approx(1.0)


def test_rows_and_axis_are_named():
    axes = draw_comparison(VALUES, 'accuracy (%)').axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ['kd_a', 'bss_a']
    assert 'accuracy (%)' in axes.get_xlabel()


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match='no experiment'):
        draw_comparison({}, 'accuracy (%)')
