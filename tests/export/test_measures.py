import numpy as np
import pytest
import torch

from mmbss.export import measures
from mmbss.export.measures import compare, latency, milliseconds, torch_threads


def logits(images):
    return images.reshape(len(images), -1)[:, :3] * 10


@pytest.mark.parametrize('count', [1, 2, 100, 101, 102, 305])
def test_every_image_is_asked_about_once(count):
    images = np.random.default_rng(0).random((count, 1, 2, 2), dtype=np.float32)
    sizes = []

    def ask(part):
        sizes.append(len(part))
        return logits(part)

    found = compare(ask, logits, images)
    assert sum(sizes) == found.images == count
    assert max(sizes) <= measures.BATCH
    assert sizes[0] == 1
    assert found.is_equal
    assert found.largest_difference == 0
    assert found.equal_decisions == 1


def test_differences_are_found():
    images = np.random.default_rng(0).random((200, 1, 2, 2), dtype=np.float32)

    def off(part):
        answers = logits(part)
        answers[images[150].flat[0] == part[:, 0, 0, 0], 1] += 100
        return answers

    found = compare(off, logits, images)
    assert not found.is_equal
    assert found.largest_difference == pytest.approx(100)
    assert found.equal_decisions >= 1 - 1 / 200
    assert compare(lambda part: logits(part) + 1e-5, logits, images).is_equal
    assert not compare(lambda part: logits(part) * np.nan, logits, images).is_equal


def test_times_are_medians_and_threads_are_given_back(monkeypatch):
    times = iter(range(10_000))
    monkeypatch.setattr(measures.time, 'perf_counter', lambda: next(times) / 1000)
    monkeypatch.setattr(measures, 'SECONDS', 1e9)
    assert milliseconds(logits, np.zeros((1, 1, 2, 2), np.float32)) == pytest.approx(1)
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(measures, 'cpu_count', lambda: 2)

    def open_file(threads):
        seen.append((threads, torch.get_num_threads()))
        return logits

    assert list(latency(open_file, np.zeros((1, 1, 2, 2), np.float32))) == ['1', '2']
    assert seen == [(1, 1), (2, 2)]
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), torch_threads(2):
        _ = 1 / 0
    assert torch.get_num_threads() == before
