"""`tunix-rt`: the tree of commands, and the one place where an error becomes an exit code.

Commands are loaded when they are called: `--help` reads the table below and imports nothing heavy.
"""

import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

import click

from tunix_rt import __version__
from tunix_rt.base.errors import Problem
from tunix_rt.cli.lazy import Lazy
from tunix_rt.training import malloc

# name -> (module:attribute, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("tunix_rt.cli.demo:demo", "The whole loop on this machine, in minutes."),
    "serve": ("tunix_rt.cli.serve:serve", "The web app, the HTTP API and their workers on this machine."),
    "worker": ("tunix_rt.cli.worker:worker", "One worker: trains queued runs."),
    "runs": ("tunix_rt.cli.runs:runs", "Queue, watch, cancel and look at runs."),
    "doctor": ("tunix_rt.cli.doctor:doctor", "Versions, devices, database, disk, extras; paste-ready."),
    "db": ("tunix_rt.cli.db:db", "Migrate the database."),
    "traces": ("tunix_rt.cli.traces:traces", "Import, generate, find, score and compare traces."),
    "datasets": ("tunix_rt.cli.datasets:datasets", "Build, export, compare and audit data sets."),
    "init": ("tunix_rt.cli.init:init", "Write a training config that fits this machine."),
    "train": ("tunix_rt.cli.train:train", "Train a model here and now."),
    "generate": ("tunix_rt.cli.generate:generate", "Answer an eval set with a model."),
    "models": ("tunix_rt.cli.registry:models", "Promote, find and pull models; merge adapters; check results."),
    "evaluate": ("tunix_rt.cli.evaluate:evaluate", "Score predictions against an eval set."),
    "evaluations": ("tunix_rt.cli.evaluations:evaluations", "Look at evaluations; judge again, verify, waive."),
    "judge": ("tunix_rt.cli.judge:judge", "Judges, and what one is worth against human labels."),
    "compare": ("tunix_rt.cli.evaluate:compare", "Compare two models on the same items."),
    "leaderboard": ("tunix_rt.cli.evaluate:leaderboard", "Ranked evaluations, with their intervals."),
    "baselines": ("tunix_rt.cli.gate:baselines", "What later evaluations are held against."),
    "gate": ("tunix_rt.cli.gate:gate", "Is this model worse than its baseline? For CI."),
}


@click.group(cls=Lazy, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tunix-rt")
@click.option("--url", envvar="TUNIX_RT_URL", help="A server to talk to; without it, the database on this machine.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def root(ctx: click.Context, url: str | None, debug: bool) -> None:
    """Teach a small language model to reason, and know whether it worked.

    Everything is stored under TUNIX_RT_HOME. Start with: tunix-rt demo
    """
    ctx.obj = {"url": url, "debug": debug}


def main() -> None:
    """Run a command; every failure ends in one clear message and its exit code."""
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    debug = "--debug" in arguments
    if "train" in arguments:
        malloc.settle(arguments)  # here, before the command's imports are done for nothing
    try:
        code = root.main(args=arguments, prog_name="tunix-rt", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tunix-rt"
        code = _report(2, "wrong_usage", error.format_message(), f"See: {where} --help", as_json)
    except Problem as problem:
        if debug:
            traceback.print_exc()
        detail = problem.detail + "".join(f"\n  {fault.pointer}: {fault.detail}" for fault in problem.faults[:20])
        stored = None if problem.stored is None else asdict(problem.stored)
        code = _report(problem.exit_code, problem.code, detail, problem.hint, as_json, stored)
    except (KeyboardInterrupt, click.Abort):
        code = _report(130, "interrupted", "Interrupted.", None, as_json)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # the last stand: a bug of ours, or a library's error that we cannot name yet
        if debug:
            traceback.print_exc()
        detail = f"{type(error).__name__}: {error}"
        code = _report(
            1, "unexpected", f"Unexpected error: {detail}", "Run it again with --debug to see where.", as_json
        )
    sys.exit(code if isinstance(code, int) else 0)


def _report(
    code: int, name: str, detail: str, hint: str | None, as_json: bool, stored: dict[str, int] | None = None
) -> int:
    if as_json:
        error: dict[str, Any] = {"code": name, "detail": detail, "hint": hint}
        if stored is not None:
            error["stored"] = stored
        print(json.dumps({"error": error}, ensure_ascii=False))
    else:
        click.secho(f"Error: {detail}", fg="red", err=True)
        if hint:
            click.echo(f"  {hint}", err=True)
    return code


if __name__ == "__main__":
    main()
