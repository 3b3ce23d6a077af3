"""Commands of an installed `tunix-rt`, run one after the other in one process of its environment.

    python -I tests/installed.py

reads a JSON line for each command, {"words": [...], "environment": {...}}, and answers it with one, {"code", "out",
"err"}. The line {"tree": true} is answered with the words of every command that there is.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import click

from tunix_rt.cli.main import main, root


def run(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command by its entry point."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before, code = dict(os.environ), None
    os.environ.update(environment)
    sys.argv = ["tunix-rt", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        except BaseException:  # what `main` lets through is what the test looks for
            traceback.print_exc()
    os.environ.clear()
    os.environ.update(before)
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))
    return {"code": code, **dict(zip(("out", "err"), texts, strict=True))}


def tree(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[str]:
    """The words of every command that is no group."""
    if not isinstance(command, click.Group):
        yield " ".join(words)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None, name
        yield from tree(inner, (*words, name))


if __name__ == "__main__":
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a command's own processes print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(list(tree(root)) if "tree" in request else run(**request)), file=responses, flush=True)
