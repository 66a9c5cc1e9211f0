# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The memory of a server's process: an upper limit, and giving back what is not needed any more.

The GNU C library maps a large block on its own, and gives it back at once when it is freed. But the
first block that is freed so makes it take later ones of that size from heaps, of which each thread
has its own, and which seldom shrink (``mallopt(3)``, ``M_MMAP_THRESHOLD``). The threads of a server
each need much for a moment, to select the objects of a clone, so it would keep a multiple of it. A
fixed size keeps large blocks out of the heaps.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

from .serving import log

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["give_back_memory", "limit_memory"]

_MMAP_THRESHOLD = -3
_LARGE = 1 << 17
"""Bytes of a block that is large: what the library begins with."""
_CHOSEN = "MALLOC_MMAP_THRESHOLD_"


def limit_memory(size: int) -> None:
    """Limit the memory that this process may allocate; files that it maps do not count.

    Args:
      size: in bytes
    """
    if resource is None or sys.platform != "linux":
        log.warning("this system cannot limit the memory of a worker")
        return
    threading.stack_size(1 << 20)  # stacks of threads count
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def give_back_memory() -> bool:
    """Have the C library give large blocks back to the system when they are freed.

    Nothing changes with another library than GNU's, or where the environment sets the size.

    Returns: whether that was done
    """
    if sys.platform != "linux" or _CHOSEN in os.environ:
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGE))
