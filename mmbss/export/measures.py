"""Whether an exported file says what the student says, how long it takes, and what it weighs."""

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmbss.export.formats import Ask, cpu_count

#: Logits may differ by so much of the largest, as other operators round in another order.
TOLERANCE = 1e-4
#: Images that are asked about at once.
BATCH = 100
#: Calls before the clock, and those of which the median is taken, as far as SECONDS allow.
WARM_UP, CALLS, SECONDS = 3, 50, 3.0


@dataclass(frozen=True)
class Agreement:
    """How far the answers of a file are those of the student.

    Attributes:
        images: Images that both were asked about.
        largest_difference: Of any logit.
        largest_logit: Of the student, in absolute value.
        equal_decisions: Share of images with the same class.
    """

    images: int
    largest_difference: float
    largest_logit: float
    equal_decisions: float

    @property
    def is_equal(self) -> bool:
        """Whether they differ by rounding alone; also False where one of them is NaN."""
        return self.largest_difference <= TOLERANCE * max(self.largest_logit, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(asdict(self), tolerance=TOLERANCE * max(self.largest_logit, 1.0))


def compare(asked: Ask, student: Ask, images: np.ndarray) -> Agreement:
    """Ask a file and the student about the same images, in full batches and a smaller one.

    Args:
        asked: Logits of the file.
        student: Logits of the student.
        images: (N, C, H, W) float32, N of at least 1.
    """
    # the first one alone, so that one image and many are both tried
    parts = [images[:1], *np.array_split(images[1:], range(BATCH, len(images) - 1, BATCH))]
    answers = [(asked(part), student(part)) for part in parts if len(part)]
    given, right = (np.concatenate(column) for column in zip(*answers, strict=True))
    return Agreement(
        len(images),
        float(np.abs(given - right).max()),
        float(np.abs(right).max()),
        float((given.argmax(1) == right.argmax(1)).mean()),
    )


def milliseconds(ask: Ask, image: np.ndarray) -> float:
    """Median time of an answer.

    Args:
        ask: What is asked.
        image: (1, C, H, W) float32.
    """
    for _ in range(WARM_UP):
        ask(image)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < CALLS and (len(times) < WARM_UP or time.perf_counter() - start < SECONDS):
        before = time.perf_counter()
        ask(image)
        times.append(time.perf_counter() - before)
    return 1000 * statistics.median(times)


def latency(open_file: Callable[[int], Ask], image: np.ndarray) -> dict[str, float]:
    """Median milliseconds of one image with one thread and with all, by the number of threads.

    Args:
        open_file: Opens what is asked, for so many threads.
        image: (1, C, H, W) float32.
    """
    times = {}
    for threads in sorted({1, cpu_count()}):
        with torch_threads(threads):
            times[str(threads)] = round(milliseconds(open_file(threads), image), 3)
    return times


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The processor of this machine, as far as it says, and how many are used."""
    name = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.is_file():
        lines = info.read_text().splitlines()
        named = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
        name = named[0] if named else name
    return f'{name}, {cpu_count()} CPUs, {platform.system()}'
