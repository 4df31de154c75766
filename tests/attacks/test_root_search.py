import pytest
import torch

from mmbss.attacks.root_search import AIM, LATER, regula_falsi, secant_search


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


FUNCTIONS = [
    lambda t: 1 - 4 * t,
    lambda t: 3 - 20 * t**3,
    lambda t: 0.1 - t,
    lambda t: 5.0 if t < 0.6 else -0.2,
    lambda t: 8 * (0.9 - t) ** 3,
]


def close_in(functions, num_evaluations, at_0=None, at_1=None):
    asked = []

    def evaluate(arguments):
        asked.append(arguments)
        pairs = zip(functions, arguments.tolist(), strict=True)
        return torch.tensor([function(argument) for function, argument in pairs])

    ends = [
        torch.tensor([function(end) for function in functions]) if given is None else given
        for end, given in ((0.0, at_0), (1.0, at_1))
    ]
    return regula_falsi(evaluate, *ends, num_evaluations), asked


def illinois(function, num_evaluations):
    """A plain transcription, of one function."""
    left, right = 0.0, 1.0
    f_left, f_right = function(left), function(right)
    aim, side = AIM * f_left, 0
    for number in range(1, num_evaluations + 1):
        middle = left + (right - left) * (f_left + aim) / (f_left - f_right)
        if not left < middle < right:
            middle = (left + right) / 2
        widest = 2 ** (LATER - number)
        middle = min(max(middle, right - widest), left + widest)
        f_middle = function(middle)
        if f_middle < 0:
            right, f_right = middle, f_middle
            if side == 1:
                f_left /= 2
            side = 1
        else:
            left, f_left = middle, f_middle
            if side == -1:
                f_right /= 2
            side = -1
    return left, right


@pytest.mark.parametrize('num_evaluations', [1, 2, 5, 8])
def test_regula_falsi_is_the_illinois_algorithm(num_evaluations):
    (lower, upper), asked = close_in(FUNCTIONS, num_evaluations)
    expected = torch.tensor([illinois(function, num_evaluations) for function in FUNCTIONS])
    torch.testing.assert_close(torch.stack([lower, upper], dim=1), expected)
    assert len(asked) == num_evaluations


def test_regula_falsi_ends_just_beyond_the_root():
    (_, upper), _ = close_in(FUNCTIONS, 10)
    values = torch.tensor([f(t) for f, t in zip(FUNCTIONS, upper.tolist(), strict=True)])
    starts = torch.tensor([f(0.0) for f in FUNCTIONS])
    smooth = torch.tensor([True, True, True, False, True])
    assert (values < 0).all()
    assert (values > -3 * AIM * starts)[smooth].all()


@pytest.mark.parametrize(
    ('at_0', 'at_1'),
    [
        (1.0, float('-inf')),
        (float('inf'), float('-inf')),
        (0.0, -1.0),
        (1.0, 1.0),
        (1.0, float('nan')),
    ],
)
def test_values_that_say_nothing_only_cost_evaluations(at_0, at_1):
    functions = [lambda t: 0.25 - t]
    (lower, upper), _ = close_in(functions, 8, torch.tensor([at_0]), torch.tensor([at_1]))
    assert lower.item() <= 0.25 < upper.item() < 0.3


@pytest.mark.parametrize('root', [0.01, 0.3, 0.5, 0.99])
@pytest.mark.parametrize('num_evaluations', [4, 6, 10])
def test_no_shape_keeps_an_end_far_from_the_root(root, num_evaluations):
    functions = [
        lambda t: (root - t) ** 3,
        lambda t: (root - t) * (0.1 if t < root else 50),
        lambda t: (root - t) * (50 if t < root else 0.1),
        lambda t: 1.0 if t < root else -10.0,
    ]
    (lower, upper), _ = close_in(functions, num_evaluations)
    assert ((lower <= root + 1e-6) & (root <= upper + 1e-6)).all()
    assert (upper - lower <= 2 ** (LATER - num_evaluations) + 1e-6).all()


def test_without_a_root_the_upper_end_stays():
    (lower, upper), _ = close_in([lambda t: 1.0], 6, at_1=torch.tensor([-1.0]))
    assert upper.item() == 1
    assert lower.item() < 1


def test_regula_falsi_of_no_function_at_all():
    (lower, upper), _ = close_in([], 3)
    assert lower.shape == upper.shape == (0,)
