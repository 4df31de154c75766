"""A run that is told to end says in one line how to go on."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: What is said at each signal. The exit code is 128 and its number.
SIGNALS = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}
#: Seconds in which a second signal is taken for the first, which launchers pass on, too; and after
#: which a program that has swallowed the interrupt, as what formats configs does, is told again.
PATIENCE = 2.0


@contextmanager
def one_line_at_the_end(how_to_go_on: Callable[[], str | None]) -> Iterator[None]:
    """End the program with one line at Ctrl-C (exit code 130) and at SIGTERM (143).

    A second one ends it at once.

    Args:
        how_to_go_on: What to say; None says nothing, as of several processes all but one.
    """
    heard: list[tuple[int, float]] = []

    def end(number: int, frame: FrameType | None) -> None:
        if heard and number != signal.SIGALRM:
            if time.monotonic() < heard[0][1] + PATIENCE:
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not heard:
            heard.append((number, time.monotonic()))
            # torch raises an error here for each data worker that the same signal has ended
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.signal(signal.SIGALRM, end)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    except BaseException:
        if not heard:
            raise
        signal.setitimer(signal.ITIMER_REAL, 0)
        number = signal.Signals(heard[0][0])
        if (text := how_to_go_on()) is not None:
            print(f'{SIGNALS[number]}: {text}', file=sys.stderr)
        sys.exit(128 + number)
    finally:
        if not heard:
            for number, handler in before.items():
                signal.signal(number, handler)
