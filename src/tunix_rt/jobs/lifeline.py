"""The worker's end of the lifeline of a process that it starts; the other end is `training.lifeline`."""

import contextlib
import os

from tunix_rt.jobs.lease import FRESH_SHARE, Lease

SECRETS = ("TUNIX_RT_DATABASE_URL", "TUNIX_RT_JUDGE_KEY")  # a training needs neither
LIFELINE_SHARE = 1 - FRESH_SHARE
"""Of a lease: a process that has not heard from its worker for so long ends itself, before somebody else may start."""


class Lifeline:
    """A pipe that tells a process that we live; when we do not, it ends itself.

    Args:
        lease: whose beats are passed on.

    Attributes:
        descriptor: that the process inherits.
        environment: of the process: ours without its secrets, and where the lifeline is.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.descriptor, self._ours = os.pipe()
        os.set_blocking(self._ours, False)
        kept = {key: value for key, value in os.environ.items() if key not in SECRETS}
        self.environment = kept | {
            "TUNIX_RT_LIFELINE_FD": str(self.descriptor),
            "TUNIX_RT_LIFELINE_SECONDS": str(lease.seconds * LIFELINE_SHARE),
        }

    def inherited(self) -> None:
        """The process has its end, or there is none: let go of it here."""
        os.close(self.descriptor)

    def beat(self) -> None:
        """Pass the lease's beats on from here."""
        self._lease.on_beat = self._tell

    def cut(self) -> None:
        """Let go: a process that still runs ends itself."""
        self._lease.on_beat = None
        os.close(self._ours)

    def _tell(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._ours, b".")
