"""Memory that a step frees is kept for the next one, in place of being given back to the system.

glibc's allocator asks the system for every large block anew and gives it back when it is freed. The
system clears such memory page by page as it is touched, which for a model with large maps costs as
much as some of the arithmetic. Kept memory is clean already. It is given back after training.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

#: Numbers of mallopt's parameters, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
#: What glibc has at its start, and what it comes to by itself where large blocks are freed.
_DEFAULT_MAX, _LARGEST_BLOCK = 65536, 32 << 20


@contextmanager
def kept_memory(device: str) -> Iterator[bool]:
    """For the time of a block, keep what is freed; gives whether that was possible.

    Where training is on another device, where the C library isn't glibc, and where somebody has set
    its allocator up by `MALLOC_...` or `GLIBC_TUNABLES`, nothing is changed. A process then holds
    what it held at its largest, and some more: free blocks of other sizes lie between used ones.

    Args:
        device: Type of the device that a model is trained on.
    """
    possible = device == "cpu" and platform.libc_ver()[0] == "glibc" and not _is_set_up()
    if not possible:
        yield False
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield True
    finally:
        libc.mallopt(_MMAP_MAX, _DEFAULT_MAX)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)
        libc.malloc_trim(0)


def _is_set_up() -> bool:
    """Whether the allocator was told what to do by the environment."""
    told = any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ)
    return told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")


__all__ = ["kept_memory"]
