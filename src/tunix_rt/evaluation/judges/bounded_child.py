"""The child process of `bounded`: answers questions on its standard input, a JSON line each, until that ends.

It works on texts that a model wrote, with libraries that hand some of them to `eval`. Once everything is imported
(by the module and by its `prepare`, where it has one) it may therefore read what lies below Python's own folders and
do nothing else that Python announces: no files, no sockets, no processes, no native libraries (an audit hook, PEP
578); memory and file sizes are limited by the system. That is a second fence, not a sandbox: what must not run is to
be refused before it comes here.
"""

import contextlib
import importlib
import json
import os
import sys
import sysconfig
from typing import Any

MEMORY_BYTES = 4 * 2**30
# Anything else that is announced is refused.
ALLOWED = frozenset(
    [
        "import",
        "compile",
        "exec",
        "code.__new__",
        "function.__new__",
        "marshal.loads",
        "object.__getattr__",
        "object.__setattr__",
        "object.__delattr__",
        "builtins.id",
        "array.__new__",
        "sys._getframe",
        "sys._current_frames",
        "sys.excepthook",
        "sys.unraisablehook",
        "os.listdir",
        "os.scandir",
        "time.sleep",
        "gc.get_objects",
        "gc.get_referrers",
        "gc.get_referents",
    ]
)


def limit() -> None:
    """Limit memory and files, as far as the system can."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of memory
            resource.setrlimit(what, (most, most))


def fence() -> None:
    """Refuse, from here on and for good, what judging does not need."""
    below = tuple({os.path.realpath(path) + os.sep for path in [*sysconfig.get_paths().values(), *sys.path] if path})

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ALLOWED:
            return
        if event == "open":
            path, _mode, flags = arguments
            reading = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            if isinstance(path, str) and reading and os.path.realpath(path).startswith(below):
                return
        raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(refuse)


def main() -> None:
    """Serve `module:function`, the one argument."""
    module, _, name = sys.argv[1].partition(":")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    home = importlib.import_module(module)
    work = getattr(home, name)
    getattr(home, "prepare", lambda: None)()
    limit()
    fence()
    _say(answers, {"value": "ready"})
    for line in sys.stdin.buffer:
        try:
            answer = {"value": work(*json.loads(line))}
        except Exception as error:  # a library on a hostile text: anything may come
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        _say(answers, answer)


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
