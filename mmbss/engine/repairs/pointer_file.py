"""Have mmengine's checkpoint hook write ``last_checkpoint`` as a whole.

Cause: it opens the file and writes into it, so a kill in between leaves it empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from mmbss.engine.files.atomic import whole_file


def repair(checkpoint_hook: Any) -> None:
    """Hide the ``open`` of ``mmengine.hooks.checkpoint_hook``, which writes nothing else."""
    checkpoint_hook.open = open_whole


@contextmanager
def open_whole(path: str, mode: str) -> Iterator[IO[Any]]:
    """A text file that appears under its name when it is complete."""
    with whole_file(path) as part, part.open(mode) as file:
        yield file
