"""What the C library keeps of memory that was freed.

glibc gives threads arenas of their own, eight for each core, and an arena keeps what its thread
once needed: tens of threads that each read a few megabytes now and then keep them all. Python's
threads allocate one at a time, so two arenas are enough.
"""

import ctypes
import os
import platform

ARENAS = 2
_M_ARENA_MAX = -8  # malloc.h


def bound_arenas() -> None:
    """Let glibc have `ARENAS` arenas, unless `MALLOC_ARENA_MAX` says otherwise. Call it before the
    second thread begins; without glibc it does nothing."""
    if "MALLOC_ARENA_MAX" not in os.environ and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
