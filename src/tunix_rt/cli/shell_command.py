"""Commands of `tunix-rt`, written so that they run when they are pasted into the user's shell."""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

NAME = "tunix-rt"


def command(*words: object, home: Path | None = None) -> str:
    """Write a command line for a POSIX shell in the current folder.

    Args:
        words: arguments; a `Path` beneath the current folder is written relative to it.
        home: TUNIX_RT_HOME of the command, which then uses the SQLite database in it; None: this process's.

    Returns:
        One line, quoted, beginning with the environment variables that the command needs.
    """
    own = os.environ.get("TUNIX_RT_HOME")
    variables = {"TUNIX_RT_HOME": str(home or own)} if home or own else {}
    if home:
        elsewhere = ("TUNIX_RT_URL", "TUNIX_RT_DATABASE_URL")
        variables |= {name: "" for name in elsewhere if os.environ.get(name)}
    assignments = [f"{name}={shlex.quote(value) if value else ''}" for name, value in variables.items()]
    return " ".join([*assignments, shlex.join([*_program(), *(_argument(word) for word in words)])])


def _argument(word: object) -> str:
    return str(_from_here(word) if isinstance(word, Path) else word)


def _from_here(path: Path) -> Path:
    path, folder = path.absolute(), Path.cwd()
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _program() -> list[str]:
    """The running program: by its name where PATH leads to it, else by its path."""
    script = Path(sys.argv[0])
    if script.name != NAME or not script.is_file():
        script = Path(sysconfig.get_path("scripts"), NAME)
    if not script.is_file():
        return [sys.executable, "-m", "tunix_rt.cli.main"]
    on_path = shutil.which(NAME)
    if on_path is not None and script.samefile(on_path):
        return [NAME]
    path = _from_here(script)
    return [str(path) if len(path.parts) > 1 else f"./{path}"]
