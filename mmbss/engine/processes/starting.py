"""Start the processes of a job as torchrun does, without its account of those that fail.

A process of mmbss says itself what is wrong, in one line. torchrun would add some 35.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def meeting_place() -> list[str]:
    """Where the processes find each other, as flags of torchrun.

    On one machine at a free port, so that several jobs can run there. ``NNODES``, ``NODE_RANK``,
    ``MASTER_ADDR`` and ``PORT`` in the environment say more.
    """
    machines, port = os.environ.get('NNODES', '1'), os.environ.get('PORT')
    if machines == '1' and not port:
        return ['--standalone', '--local_addr=127.0.0.1']
    return [
        f'--nnodes={machines}',
        f'--node_rank={os.environ.get("NODE_RANK", "0")}',
        f'--master_addr={os.environ.get("MASTER_ADDR", "127.0.0.1")}',
        f'--master_port={port or 29500}',
    ]


def start_processes(count: int, script: Path, arguments: Sequence[str]) -> None:
    """Run a script in several processes on this machine, and wait for their end.

    The program ends if one of them fails, with the exit code of the first.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)
    try:
        run.main([*meeting_place(), f'--nproc_per_node={count}', str(script), *arguments])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:  # such a process could say nothing
            name = signal.Signals(-failure.exitcode).name
            print(f'error: process {rank} was ended by {name}', file=sys.stderr)
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(128 + error.sigval)
