"""The lifeline: a pipe from the worker that ends the training when the worker can no longer look after it.

The worker writes a byte now and then while its lease on the run holds. Once it has died, or is frozen or cut off from
the database, somebody else may take the run over, and two processes must not write one run directory.
"""

import os
import select
import signal
import threading

from tunix_rt.base.errors import WrongUsage

DESCRIPTOR, SECONDS = "TUNIX_RT_LIFELINE_FD", "TUNIX_RT_LIFELINE_SECONDS"


def hold() -> bool:
    """Hang on the pipe that the environment names, if it names one, from here on.

    `TUNIX_RT_LIFELINE_FD` is an inherited descriptor that can be read, `TUNIX_RT_LIFELINE_SECONDS` the longest time
    without a byte (left out: only the pipe's end counts). Both are taken out of the environment.

    Returns:
        Whether there is one.

    Raises:
        WrongUsage: no such descriptor, or no such time.
    """
    descriptor, seconds = os.environ.pop(DESCRIPTOR, None), os.environ.pop(SECONDS, None)
    if descriptor is None:
        return False
    try:
        pipe, limit = int(descriptor), None if seconds is None else float(seconds)
        os.set_inheritable(pipe, False)
    except (ValueError, OverflowError, OSError) as error:
        raise WrongUsage(f"{DESCRIPTOR}={descriptor}, {SECONDS}={seconds}: {error}") from None
    if limit is not None and not 0 < limit < 2**20:
        raise WrongUsage(f"{SECONDS} is {seconds}; it is over 0 and below 1,048,576.")
    threading.Thread(target=_watch, args=(pipe, limit), name="lifeline", daemon=True).start()
    return True


def _watch(pipe: int, limit: float | None) -> None:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while True:
        if not poll.poll(None if limit is None else limit * 1000):
            _die(f"no sign of the worker for {limit:g} seconds")
        if not os.read(pipe, 65536):
            _die("the worker is gone")


def _die(why: str) -> None:
    # Straight to the descriptor, and only if it takes the line at once: the main thread may hold the lock of
    # sys.stderr, and a frozen worker may have left us a full pipe.
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    if poll.poll(0):
        os.write(2, f"Killed by the lifeline: {why}. Another attempt goes on from the newest checkpoint.\n".encode())
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # our own children too
    os._exit(137)
