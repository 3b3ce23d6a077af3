"""What becomes of a job when an attempt ends: by how it ended, not by what it did."""

from enum import StrEnum

LONGEST_DELAY_SECONDS = 300.0


class End(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    REFUSED = "refused"  # the input's fault: trying again would end the same way
    CRASHED = "crashed"  # our fault or the machine's: tried again, later each time, until the attempts are used up
    RELEASED = "released"  # given back unfinished, by a worker that was asked to stop: no attempt is used up
    CANCELLED = "cancelled"


def delay_seconds(attempt: int) -> float:
    """How long to wait after attempt number `attempt` crashed: 1, 4, 16, 64, 256, then 300 seconds."""
    return min(LONGEST_DELAY_SECONDS, 4.0 ** (attempt - 1))
