"""Starts the processes of a job as torchrun does, without its account of those that fail.

    python -m mmbss.engine.launch [arguments of torchrun]

A process of mmbss says itself what is wrong, in one line. torchrun would add some 35.
"""

import logging
import signal
import sys


def main() -> None:
    """Start them; the exit code is that of the first to fail."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)
    try:
        run.main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:  # such a process could say nothing
            name = signal.Signals(-failure.exitcode).name
            print(f'error: process {rank} was ended by {name}', file=sys.stderr)
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(128 + error.sigval)


if __name__ == '__main__':
    main()
