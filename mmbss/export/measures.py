"""Whether an exported file says what the student says, and how long it takes."""

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.benchmark import Timer

from mmbss.engine.words import counted
from mmbss.export.formats import Ask, cpu_count

#: Logits may differ by so much of the largest, as other operators round in another order.
TOLERANCE = 1e-4
#: Images that are asked about at once.
BATCH = 100
#: For which the clock runs, at least and, where other work disturbs it, at most.
SECONDS = (0.3, 3.0)


def compare(asked: Ask, student: Ask, images: np.ndarray) -> dict[str, Any]:
    """Ask a file and the student about the same images, in full batches and a smaller one.

    Args:
        asked: Logits of the file.
        student: Logits of the student.
        images: (N, C, H, W) float32, N of at least 1.

    Returns:
        ``images``: N; ``largest_difference`` of any logit, NaN where one is; ``largest_logit`` of
        the student; ``equal_decisions``: share of images with the same class; ``tolerance``: what
        rounding alone explains of a difference.
    """
    # the first one alone, so that one image and many are both tried
    parts = [images[:1], *np.array_split(images[1:], range(BATCH, len(images) - 1, BATCH))]
    answers = [(asked(part), student(part)) for part in parts if len(part)]
    given, right = (np.concatenate(column) for column in zip(*answers, strict=True))
    largest = float(np.abs(right).max())
    return dict(
        images=len(images),
        largest_difference=float(np.abs(given - right).max()),
        largest_logit=largest,
        equal_decisions=float((given.argmax(1) == right.argmax(1)).mean()),
        tolerance=TOLERANCE * max(largest, 1.0),
    )


def latency(open_file: Callable[[int], Ask], image: np.ndarray) -> dict[str, float]:
    """Median milliseconds of one image with one thread and with all, by the number of threads.

    Args:
        open_file: Opens what is asked, for so many threads.
        image: (1, C, H, W) float32.
    """
    times = {}
    for threads in sorted({1, cpu_count()}):
        asked = dict(ask=open_file(threads), image=image)
        timer = Timer('ask(image)', globals=asked, num_threads=threads)
        least, most = SECONDS
        found = timer.adaptive_autorange(min_run_time=least, max_run_time=most)
        times[str(threads)] = round(1000 * found.median, 3)
    return times


def file_in_words(file: Mapping[str, Any]) -> str:
    """What ``export.json`` holds of a file.

    Examples:
        >>> file_in_words(dict(bytes=2048, latency_ms={'1': 0.5, '4': 0.25}))
        '2 KiB, 0.50 ms an image with 1 thread, 0.25 ms an image with 4 threads'
    """
    said = [f'{file["bytes"] / 1024:.0f} KiB']
    if check := file.get('check'):
        said += [
            f'largest difference {check["largest_difference"]:.2g}',
            f'{100 * check["equal_decisions"]:.2f} % of {check["images"]} decisions equal',
        ]
    times = file.get('latency_ms', {}).items()
    said += [
        f'{time:.2f} ms an image with {counted(int(threads), "thread")}' for threads, time in times
    ]
    return ', '.join(said)


def machine() -> str:
    """The processor of this machine, as far as it says, and how many are used."""
    name = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.is_file():
        lines = info.read_text().splitlines()
        named = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
        name = named[0] if named else name
    return f'{name}, {cpu_count()} CPUs, {platform.system()}'
