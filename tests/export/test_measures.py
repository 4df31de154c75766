import time

import numpy as np
import pytest
import torch

from mmbss.export import measures
from mmbss.export.measures import compare, latency


def logits(images):
    return images.reshape(len(images), -1)[:, :3] * 10


def is_equal(found):
    return found['largest_difference'] <= found['tolerance']


@pytest.mark.parametrize('count', [1, 2, 100, 101, 102, 305])
def test_every_image_is_asked_about_once(count):
    images = np.random.default_rng(0).random((count, 1, 2, 2), dtype=np.float32)
    sizes = []

    def ask(part):
        sizes.append(len(part))
        return logits(part)

    found = compare(ask, logits, images)
    assert sum(sizes) == found['images'] == count
    assert max(sizes) <= measures.BATCH
    assert sizes[0] == 1
    assert is_equal(found)
    assert found['largest_difference'] == 0
    assert found['equal_decisions'] == 1


def test_differences_are_found():
    images = np.random.default_rng(0).random((200, 1, 2, 2), dtype=np.float32)

    def off(part):
        answers = logits(part)
        answers[images[150].flat[0] == part[:, 0, 0, 0], 1] += 100
        return answers

    found = compare(off, logits, images)
    assert not is_equal(found)
    assert found['largest_difference'] == pytest.approx(100)
    assert found['equal_decisions'] >= 1 - 1 / 200
    assert is_equal(compare(lambda part: logits(part) + 1e-5, logits, images))
    assert not is_equal(compare(lambda part: logits(part) * np.nan, logits, images))


def test_times_are_milliseconds_by_threads_which_are_given_back(monkeypatch):
    monkeypatch.setattr(measures, 'cpu_count', lambda: 2)
    before, seen = torch.get_num_threads(), set()

    def open_file(threads):
        def ask(image):
            seen.add((threads, torch.get_num_threads()))
            time.sleep(0.01)

        return ask

    times = latency(open_file, np.zeros((1, 1, 2, 2), np.float32))
    assert list(times) == ['1', '2']
    assert all(10 <= each < 1000 for each in times.values())
    assert seen == {(1, 1), (2, 2)}
    assert torch.get_num_threads() == before
