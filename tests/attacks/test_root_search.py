import pytest
import torch

from mmbss.attacks.root_search import secant_search


def search(functions, slopes, num_evaluations=8, aim=1e-3):
    calls = []

    def evaluate(indices, arguments):
        calls.append(indices.tolist())
        pairs = zip(indices.tolist(), arguments.tolist(), strict=True)
        return torch.tensor([functions[index](argument) for index, argument in pairs])

    return secant_search(evaluate, torch.tensor(slopes), num_evaluations, aim), calls


def test_a_line_with_the_right_slope_takes_two_evaluations():
    found, calls = search([lambda t: 2.5 - 2 * t], [-2.0])
    assert found.item() == pytest.approx(1.25 + 0.0005)
    assert len(calls) == 2


def test_finished_searches_are_not_evaluated_again():
    found, calls = search([lambda t: 0.999 - t, lambda t: 4 - t**2], [-1.0, -2.0])
    assert calls[0] == [0, 1]
    assert all(indices == [1] for indices in calls[1:])
    assert 0 <= found[1].item() - 2 < 1e-3


@pytest.mark.parametrize('slope', [0.0, 5.0, -1e9, float('nan')])
def test_a_useless_slope_only_costs_evaluations(slope):
    found, _ = search([lambda t: 2 - t], [slope], num_evaluations=12)
    assert 0 < found.item() - 2 <= 3.1e-3


def test_a_kink_is_bracketed():
    found, _ = search([lambda t: 0.2 if t < 0.7 else -10.0 * (t - 0.7) - 0.001], [-1.0], 40)
    assert 0.7 <= found.item() < 0.71


def test_a_function_without_root_is_not_found():
    found, calls = search([lambda t: 1.0], [-1.0], num_evaluations=5)
    assert found.item() == float('inf')
    assert len(calls) == 5


def test_no_function_at_all():
    found, _ = search([], [])
    assert found.shape == (0,)


def test_where_no_secant_helps_the_interval_is_halved():
    arguments = []

    def evaluate(indices, proposed):
        arguments.extend(proposed.tolist())
        return -9 + 8 * proposed  # negative at every argument, and rising

    found = secant_search(evaluate, torch.tensor([float('nan')]), 4, 1e-3)
    assert arguments == [1.0, 0.5, 0.25, 0.125]
    assert found.item() == 1.0
