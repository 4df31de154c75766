import platform

import pytest

from mmbss.acceleration.keep_memory_hook import KeepMemoryHook, keep_memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')

COUNT_FAULTS = """
import resource
import torch
from mmbss.acceleration.keep_memory_hook import KeepMemoryHook, keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):  # as layers of a network
        tensors = [torch.ones(12_000_000) for _ in range(4)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
given_back = faults()
assert keep_memory()
faults()
kept = faults()
assert keep_memory(False)
print(given_back, kept)
"""


@needs_glibc
def test_kept_memory_is_not_asked_for_again(python):
    given_back, kept = map(int, python('-c', COUNT_FAULTS).stdout.split())
    # 192 MB are touched five times
    assert given_back > 1000
    assert kept < given_back / 20


@needs_glibc
def test_a_training_keeps_its_memory(make_runner, resnet_config, monkeypatch):
    kept = []
    monkeypatch.setattr(
        'mmbss.acceleration.keep_memory_hook.keep_memory', lambda: kept.append(True) or True
    )
    make_runner(resnet_config(), epochs=1, custom_hooks=[dict(type='mmbss.KeepMemoryHook')]).train()
    assert kept == [True]


def test_another_allocator_is_left_alone(monkeypatch, make_runner, resnet_config, caplog):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    monkeypatch.setattr('ctypes.CDLL', lambda name: pytest.fail('there is no glibc'))
    assert keep_memory() is False
    runner = make_runner(resnet_config(), epochs=1)
    said = []
    monkeypatch.setattr(runner.logger, 'info', said.append)
    KeepMemoryHook().before_train(runner)
    assert said == ['KeepMemoryHook does nothing: it needs the allocator of glibc']
