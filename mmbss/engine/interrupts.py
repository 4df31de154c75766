"""A run that is told to end says in one line how to go on."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The signal that ends a job, such as that of a cluster whose time is over."""


@contextmanager
def one_line_at_the_end(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """End the program with one line at Ctrl-C (exit code 130) and at SIGTERM (143).

    Once more, and it ends at once.

    Args:
        how_to_go_on: What to say.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as error:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        is_terminated = isinstance(error, Terminated)
        print(
            f'{"terminated" if is_terminated else "interrupted"}: {how_to_go_on()}', file=sys.stderr
        )
        sys.exit(143 if is_terminated else 130)
    finally:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, before)
