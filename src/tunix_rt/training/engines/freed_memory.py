"""Large blocks that a computation frees in each step stay with the process; imports no framework."""

import ctypes
import sys

# glibc's mallopt codes (malloc.h)
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Let malloc keep large blocks that are freed.

    On a CPU both frameworks allocate a step's intermediate results anew; given back to the system each time, their
    pages are faulted in and zeroed again, of a small model's step a quarter in JAX, a twentieth in PyTorch. A thread's
    own arena ends at 64 MB and would map more than that anew, hence one arena for all.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # absent in musl
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
