"""Judging several things at once, for a judge that waits for somebody else."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def at_once(work: Callable[[_In], _Out], inputs: Iterable[_In], concurrency: int) -> list[_Out]:
    """`work` of each input, in order; up to `concurrency` of them side by side."""
    if concurrency == 1:
        return list(map(work, inputs))
    with ThreadPoolExecutor(concurrency, thread_name_prefix="judge") as pool:
        return list(pool.map(work, inputs))
