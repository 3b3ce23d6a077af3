"""The signals that ask a process to stop."""

import signal


def caught() -> tuple[signal.Signals, ...]:
    """SIGINT and SIGTERM; without SIGINT where this process was started with SIGINT ignored.

    A shell without job control ignores SIGINT in what it starts in the background, so that Ctrl-C ends only the command
    in the foreground. A handler of ours would undo that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGINT, signal.SIGTERM)
