"""Memory that a process keeps, instead of giving it back in every iteration."""

import ctypes
import platform

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.registry import HOOKS

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
KEPT = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}
#: Where glibc's own settings end up: it maps blocks larger than any freed so far, up to 32 MiB,
#: and gives back what lies free beyond twice as much at the end of its heap.
GIVEN_BACK = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 64 * 2**20}


def keep_memory(keep: bool = True) -> bool:
    """Tell glibc's allocator whether to keep the memory that this process frees.

    By default, large tensors on a CPU are given back to the system when they are freed, and the
    next iteration gets its memory anew, zeroed, page by page. Kept, the process stays as large as
    it has ever been. Memory of a GPU is kept by torch anyway.

    Args:
        keep: Whether to keep it; False goes back to what glibc does by itself.

    Returns:
        Whether the allocator is glibc's; nothing is done with another.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    libc = ctypes.CDLL(None)
    done = [libc.mallopt(*option) for option in (KEPT if keep else GIVEN_BACK).items()]
    if not keep:
        libc.malloc_trim(0)
    return all(done)


@HOOKS.register_module()
class KeepMemoryHook(Hook):
    """Has the process keep its memory from the start of a training, see :func:`keep_memory`."""

    def before_train(self, runner: Runner) -> None:
        """Keep it; says so where that is not possible."""
        if not keep_memory():
            runner.logger.info('KeepMemoryHook does nothing: it needs the allocator of glibc')
