"""What must be set before jax is imported: exactness, quiet, memory, and the cache of compiled programs.

Nothing here imports jax, so that the settings come in time.
"""

import ctypes
import hashlib
import os
import platform
import sys
from pathlib import Path

# glibc's mallopt codes (malloc.h)
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def prepare_environment() -> None:
    """Set what the environment leaves open; what the user has set stands.

    A device is not chosen here: JAX takes a TPU or GPU where there is one, unless JAX_PLATFORMS says otherwise.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's notes on CPU features and devices; errors still show
    settings: dict[str, str | float] = {
        "jax_compilation_cache_dir": str(compilation_cache()),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    jax = sys.modules.get("jax")
    for name, value in settings.items():
        if name.upper() not in os.environ:
            os.environ[name.upper()] = str(value)
            if jax is not None:  # imported before us, in a notebook say: it has read its environment
                jax.config.update(name, value)
    _keep_freed_memory()


def compilation_cache() -> Path:
    """Folder of compiled programs; compiling is more than half of a small training's start.

    One per processor and number of threads: both are part of what was compiled, and homes are shared over networks.
    JAX_COMPILATION_CACHE_DIR overrides it; empty turns the cache off.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    machine = hashlib.sha256(f"{_processor()} {threads()}".encode()).hexdigest()[:12]
    return caches / "tunix-rt" / f"jax-{machine}"


def threads() -> int:
    """Cores that this process may use: XLA divides its sums among as many threads, so they decide the last bits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _keep_freed_memory() -> None:
    """Let malloc keep large blocks that are freed.

    XLA's CPU runtime allocates its temporaries anew in every step; given back to the system each time, their pages
    are faulted in and zeroed again, a quarter of a small model's step. A thread's own arena ends at 64 MB and would
    map more than that anew, hence one arena for all.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # absent in musl
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
