"""Commands as a shell without job control starts them in the background."""

from collections.abc import Sequence


def ignoring_sigint(command: Sequence[str]) -> list[str]:
    """The same command, started with SIGINT ignored."""
    return ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
