"""How glibc's malloc serves a training: read when a process starts. Other systems ignore it."""

import os
import platform
import sys
from collections.abc import Sequence

HEAP_BLOCK = 32 * 2**20
"""Bytes up to which a block lies in the heap, between others; a larger one comes and goes by itself."""

# A thread keeps small blocks that are freed, which then part the large ones around them, so that PyTorch's next tensors
# do not fit between. With none kept a step with activation checkpointing takes 0.7 of the memory (benchmarks/log.md).
# What is freed at the heap's end stays ours, or each step would fault it in again.
_TUNABLES = {"tcache_count": 0, "mmap_threshold": HEAP_BLOCK, "trim_threshold": 2**40}


def environment() -> dict[str, str]:
    """Variables for a training's process; what the user has set stands."""
    chosen = ":".join(f"glibc.malloc.{name}={value}" for name, value in _TUNABLES.items())
    return {} if "GLIBC_TUNABLES" in os.environ else {"GLIBC_TUNABLES": chosen}


def settle(arguments: Sequence[str]) -> None:
    """Begin this process again where it was started without them.

    Args:
        arguments: that it is about to obey; nothing is done in a process that was started for something else.
    """
    missing, ours = environment(), sys.orig_argv[len(sys.orig_argv) - len(arguments) :] == list(arguments)
    if missing and ours and platform.libc_ver()[0] == "glibc":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | missing)  # noqa: S606  # ourselves
