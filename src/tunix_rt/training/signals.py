"""SIGINT and SIGTERM as a wish to stop, SIGUSR1 as a wish for a checkpoint; a training heeds them between two steps.

A second SIGTERM changes nothing: whoever repeats it wants the stop that is on its way, with its checkpoint.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tunix_rt.base import stop_signals

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """The wish to stop came before the first step: nothing was trained, nothing is lost."""


def install() -> Callable[[], bool]:
    """Turn both signals into a wish for the rest of the process's life; a second one by SIGINT interrupts at once.

    Whoever starts the process may block them first: they are let in here, and none is lost or kills. A SIGINT that was
    ignored before stays ignored.

    Returns:
        Whether somebody wants us to stop.
    """
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)
        if len(asked) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt

    for number in stop_signals.caught():
        signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)
    return lambda: bool(asked)


def install_saving() -> Callable[[], bool]:
    """Turn SIGUSR1 into a wish for a checkpoint for the rest of the process's life; `install` hears the others.

    Returns:
        Whether somebody has wished for one since this was asked last.
    """
    wished: list[int] = []

    def wish(number: int, _frame: Any) -> None:
        wished.append(number)

    signal.signal(signal.SIGUSR1, wish)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1,))

    def saving() -> bool:
        asked = bool(wished)
        wished.clear()
        return asked

    return saving


@contextmanager
def heard() -> Iterator[tuple[Callable[[], bool], Callable[[], bool]]]:
    """`install` and `install_saving` for the length of a block: stopping, saving."""
    before = {number: signal.getsignal(number) for number in (*_NUMBERS, signal.SIGUSR1)}
    try:
        yield install(), install_saving()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: set by C code, which Python cannot set again


def heed(stopping: Callable[[], bool]) -> None:
    """End here if somebody wants us to stop.

    Raises:
        Stopped: they do.
    """
    if stopping():
        raise Stopped


def never() -> bool:
    """For whom nobody can stop."""
    return False
