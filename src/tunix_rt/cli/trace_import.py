"""`tunix-rt traces import`: import a file of any size, and report its lines and the source of its traces."""

import os
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import click

from tunix_rt.base.errors import BadInput, Fault, NotFound
from tunix_rt.cli import door, show
from tunix_rt.traces.format import MAX_SOURCE

CHUNK = 2**18
SAY_SECONDS = 10


@click.command(name="import")
@click.argument("file")
@click.option("--format", help="trace, gsm8k, messages, prompt-completion, stepwise; left out: told from the file.")
@click.option(
    "--source", help="Where the traces are from; left out: meta.source, else the file's name; none: no source."
)
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="At a bad line: store nothing at all, or all good lines.",
)
@show.json_option
@click.pass_context
def import_(
    ctx: click.Context, file: str, format: str | None, source: str | None, on_error: str, as_json: bool
) -> None:
    """Import a JSONL file of any size; every line is accounted for."""
    path = Path(file)
    default = None if source else _source_of(path)
    options = {"on_error": on_error, "format": format, "source": source, "default_source": default}
    query = {key: value for key, value in options.items() if value}

    async def work(opened: IO[bytes], size: int) -> Any:
        async with door.client(ctx.obj["url"]) as api:
            chunks = _watched(opened, size)
            return await door.call(api, "POST", "/api/traces/import", params=query, content=chunks)

    try:
        with _open(path) as opened:
            report = door.run(work(opened, path.stat().st_size))
    except BadInput as bad:
        faults = [Fault(fault.pointer.replace("line ", f"{file}:", 1), fault.detail) for fault in bad.faults]
        raise BadInput(f"{file}: {bad.detail}", hint=bad.hint, faults=faults) from None
    except KeyboardInterrupt:
        show.say("Stopped. Whole traces are kept, none is half stored: the same command again brings in the rest.")
        raise
    _tell(file, report, default, as_json)
    if not report["created"] and not report["already_present"]:
        ctx.exit(1)


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", hint=f"You are in {Path.cwd()}.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder, not a file.", hint=f"Name a file in it: {path}/…jsonl") from None
    except PermissionError:
        raise BadInput(f"{path} may not be read.", hint=f"See its permissions: ls -l {path}") from None


def _source_of(path: Path) -> str | None:
    """The source that a file's name suggests: `train` of `data/train.jsonl`; None: a pipe has no name of its own."""
    if not path.is_file() or path.is_relative_to("/dev"):  # /dev/stdin may be a file's
        return None
    printable = "".join(char for char in os.fsencode(path.stem).decode(errors="replace") if char.isprintable())
    return printable.strip()[:MAX_SOURCE] or None


async def _watched(opened: IO[bytes], size: int) -> AsyncIterator[bytes]:
    with show.progress() as bar:
        task = bar.add_task("Importing", total=size, note="")
        said, done = time.monotonic(), 0
        while chunk := opened.read(CHUNK):
            yield chunk
            done += len(chunk)
            bar.update(task, completed=done)
            if bar.disable and time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                show.say(f"read {done / 2**20:,.0f} of {size / 2**20:,.0f} MiB")


def _tell(file: str, report: dict[str, Any], default: str | None, as_json: bool) -> None:
    if as_json:
        show.document(report)
        return
    click.echo(
        f"{report['created']:,} created, {report['already_present']:,} already present, "
        f"{report['rejected_count']:,} rejected ({report['lines']:,} lines, {report['blank']:,} blank, "
        f"format {report['format'] or 'unknown'})"
    )
    if report["created"] or report["already_present"]:
        _tell_source(report, default)
    for bad in report["rejected"]:
        show.say(f"{file}:{bad['line']}: {show.printable(bad['reason'])}")
    if report["rejected_count"] > len(report["rejected"]):
        show.say(f"… and {report['rejected_count'] - len(report['rejected']):,} more")
    if report["created"]:
        option = f" --source {shlex.quote(report['source'])}" if report["source"] else ""
        show.say(f"Next: tunix-rt traces list{option}, or tunix-rt datasets build NAME{option}")


def _tell_source(report: dict[str, Any], default: str | None) -> None:
    source = report["source"]
    if source is None:
        rest = f"; {default} (from the file's name) where it says none" if default else ""
        show.say(f"source: what each line's meta.source says{show.printable(rest)}")
    elif source == default:
        show.say(f"source: {show.printable(source)} (from the file's name; --source NAME to choose another)")
    else:
        show.say(f"source: {show.printable(source)}")
    if report["source_set"]:
        show.say(f"{report['source_set']:,} of those already present had no source and have it now.")
