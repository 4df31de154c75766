"""Find where many functions of one variable change, all at once."""

from collections.abc import Callable

import torch
from torch import Tensor

#: A search that has seen no negative value yet goes at most this much farther at a time.
REACH = 1.5
#: How far beyond the root is aimed at, as a share of the value that the function begins with.
AIM = 0.005
#: So many evaluations later than by bisection, an interval is at least as narrow.
LATER = 3


def secant_search(
    function: Callable[[Tensor, Tensor], Tensor],
    slopes: Tensor,
    num_evaluations: int,
    aim: float,
) -> Tensor:
    """Look for an argument in (0, inf) where each function is a little below zero.

    Every function is positive at 0. The first argument is 1, the second follows the given slope,
    the others the secant through the last two. An argument that leaves the interval known to
    hold the root is replaced by the middle of the interval, or by ``REACH`` times the last one
    while there is no upper end. A search ends where the value is in ``[-3 aim, 0)``.

    Args:
        function: Maps (M,) int64 indices of functions and (M,) float32 arguments to the (M,)
            values; called with the searches that still go on.
        slopes: (N,) float32 guesses of the derivatives at 1, negative where they mean anything.
        num_evaluations: Most evaluations of each function.
        aim: How far below zero to aim, positive, in units of the functions.

    Returns:
        (N,) float32, the argument with the negative value closest to zero; ``inf`` where no
        negative value was found.

    Examples:
        >>> import torch
        >>> heights = torch.tensor([1.0, 4.0])
        >>> root = secant_search(lambda i, t: heights[i] - t**2, torch.full((2,), -2.0), 8, 1e-3)
        >>> root.round(decimals=2)
        tensor([1., 2.])
    """
    lower, upper = torch.zeros_like(slopes), torch.full_like(slopes, torch.inf)
    arguments = torch.ones_like(slopes)
    found, closest = upper.clone(), torch.full_like(slopes, -torch.inf)
    searching = torch.arange(len(slopes), device=slopes.device)
    last_argument: Tensor | None = None
    last_value = slope = slopes
    for _ in range(num_evaluations):
        if len(searching) == 0:
            break
        argument = arguments[searching]
        value = function(searching, argument)
        beyond = value < 0
        closer = beyond & (value > closest[searching])
        found[searching] = torch.where(closer, argument, found[searching])
        closest[searching] = torch.where(closer, value, closest[searching])
        lower[searching] = torch.where(beyond, lower[searching], argument)
        upper[searching] = torch.where(beyond, argument, upper[searching])
        if last_argument is not None:
            secant = (value - last_value) / (argument - last_argument)
            slope = torch.where(secant < 0, secant, slope)
        low, high = lower[searching], upper[searching]
        middle = torch.where(high.isinf(), REACH * argument, (low + high) / 2)
        limit = torch.where(high.isinf(), middle, high)
        proposal = argument - (value + aim) / slope
        # a slope of zero proposes inf or NaN, which is in no interval
        is_usable = (slope < 0) & (proposal > low) & (proposal < limit)
        arguments[searching] = torch.where(is_usable, proposal, middle)
        going_on = ~(beyond & (value >= -3 * aim))
        searching = searching[going_on]
        last_argument, last_value = argument[going_on], value[going_on]
        slope = slope[going_on]
    return found


def regula_falsi(
    function: Callable[[Tensor], Tensor], at_0: Tensor, at_1: Tensor, num_evaluations: int
) -> tuple[Tensor, Tensor]:
    """Close in on where each function turns negative in [0, 1], by its values.

    The Illinois algorithm: the straight line through the values at both ends of an interval says
    where to look next, and the value of an end that stays for a second time is halved (Dowell and
    Jarratt, BIT 11, 1971). It is aimed a little beyond the root, so that the upper end moves, too.
    What lies outside the interval, or is not a number, is replaced by the middle. A function that
    is far from straight would leave one end where it is, so what is left of the interval is bounded
    as by Oliveira and Takahashi (ACM TOMS 47:5, 2020): in the end it is at most
    ``2 ** (LATER - num_evaluations)`` wide.

    Args:
        function: Maps (N,) float32 arguments to (N,) values.
        at_0: (N,) float32 values at 0, positive.
        at_1: (N,) float32 values at 1, negative.
        num_evaluations: How often.

    Returns:
        (N,) float32 lower and upper ends; the function was negative at the upper ones, and not at
        the lower ones, unless these are still 0 and 1.

    Examples:
        >>> import torch
        >>> roots = torch.tensor([0.1, 0.7])
        >>> regula_falsi(lambda shares: roots - shares, roots, roots - 1, 1)
        (tensor([0., 0.]), tensor([0.1005, 0.7035]))
    """
    lower, upper = torch.zeros_like(at_0), torch.ones_like(at_0)
    aim = AIM * at_0
    was_beyond = torch.zeros_like(at_0)  # -1 for no, 1 for yes
    for remaining in reversed(range(num_evaluations)):
        argument = lower + (upper - lower) * (at_0 + aim) / (at_0 - at_1)
        is_usable = (argument > lower) & (argument < upper)
        argument = torch.where(is_usable, argument, (lower + upper) / 2)
        widest = 2.0 ** (LATER + remaining - num_evaluations)
        argument = argument.clamp(upper - widest, lower + widest)
        value = function(argument)
        beyond = value < 0
        at_0 = torch.where(beyond, torch.where(was_beyond > 0, at_0 / 2, at_0), value)
        at_1 = torch.where(beyond, value, torch.where(was_beyond < 0, at_1 / 2, at_1))
        lower, upper = torch.where(beyond, lower, argument), torch.where(beyond, argument, upper)
        was_beyond = 2 * beyond.float() - 1
    return lower, upper


def bisect(
    is_beyond: Callable[[Tensor], Tensor], like: Tensor, num_evaluations: int
) -> tuple[Tensor, Tensor]:
    """Halve, time and again, the interval [0, 1] in which each function becomes true.

    Args:
        is_beyond: Maps (N,) float32 arguments to (N,) bool, taken to be false at 0 and true at 1.
        like: (N,) of anything, for number and device.
        num_evaluations: How often.

    Returns:
        (N,) float32 lower and upper ends; false was found at the lower ones, true at the upper
        ones, unless these are still 0 and 1.

    Examples:
        >>> import torch
        >>> roots = torch.tensor([0.1, 0.7])
        >>> bisect(lambda shares: shares > roots, roots, 2)
        (tensor([0.0000, 0.5000]), tensor([0.2500, 0.7500]))
    """
    lower = torch.zeros_like(like, dtype=torch.float32)
    upper = torch.ones_like(lower)
    for _ in range(num_evaluations):
        middle = (lower + upper) / 2
        beyond = is_beyond(middle)
        lower, upper = torch.where(beyond, lower, middle), torch.where(beyond, middle, upper)
    return lower, upper
