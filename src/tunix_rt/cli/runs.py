"""`tunix-rt runs`: put a run into the queue, watch it, cancel it, try it again."""

from pathlib import Path
from typing import Any

import click

from tunix_rt.base.errors import BadInput, WrongUsage
from tunix_rt.cli import door, run_check, run_left, run_list, show
from tunix_rt.cli.evaluate import show_evaluation
from tunix_rt.cli.follow import Follower, Screen
from tunix_rt.training import config


@click.group()
def runs() -> None:
    """Trainings that workers do, from the queue to what they left."""


runs.add_command(run_list.list_)
for _command in (run_left.show_, run_left.artifacts, run_left.metrics, run_left.samples):
    runs.add_command(_command)


def address(run: str, *parts: str) -> str:
    """The path of a run, or of something below it."""
    return "/".join(["/api/tunix/runs", door.quote(run), *parts])


# --- submit -----------------------------------------------------------------------------------------------------


@runs.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--dataset", "dataset_key", help="Key of the data set; else the config's `dataset`.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a key of the config.")
@click.option("--model-id", help="scratch, a folder under the server's models, name@alias or name:version.")
@click.option("--engine", help="Who computes; else the config's `engine`.")
@click.option("--eval-set", help="A stored eval set that the trained model answers.")
@click.option("--priority", type=int, help="Higher is sooner; default 0.")
@click.option("--max-attempts", type=click.IntRange(min=1), help="How often a run whose worker died is tried.")
@click.option("--timeout-seconds", type=click.FloatRange(min=0, min_open=True), help="Longest run; default: no limit.")
@click.option("--dry-run", is_flag=True, help="Check all that a run needs, and train nothing.")
@click.option("--idempotency-key", help="The same key again gives the same run, however often it is sent.")
@click.option("--follow", "-f", is_flag=True, help="Print what the run prints, until it is over.")
@show.json_option
@click.pass_obj
def submit(
    obj: dict[str, Any],
    /,
    config_path: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    idempotency_key: str | None,
    follow: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Queue a run of CONFIG (YAML) for a worker; prints its id.

    With --follow the exit code is 1 unless the run completes.
    """
    if dry_run and follow:
        raise WrongUsage("--dry-run is answered at once; --follow has nothing to wait for.")
    body = _body(config_path, overrides, given) | {"dry_run": dry_run}
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    query = {} if dry_run else {"mode": "async"}

    async def work() -> dict[str, Any] | None:
        async with door.client(obj["url"]) as api:
            run = await door.call(api, "POST", "/api/tunix/run", params=query, json=body, headers=headers)
            if dry_run:
                run_check.tell(run, as_json)
                return None
            _queued(run, follow, as_json)
            if not follow:
                return None
            screen = Screen(raw=False, as_json=as_json, told=True)
            return await Follower(api, run["run_id"], screen).follow(known=True)

    _finish(door.run(work()), as_json)


def _body(path: Path, overrides: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The request: what the user wrote and no default, so that the server's defaults hold."""
    try:
        said = (f"{name}={given[name]}" for name in ("model_id", "engine") if given.get(name) is not None)
        resolved = config.load(path, (*overrides, *said))  # with them, since the rest must fit them
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", hint=f"See its permissions: ls -l {path}") from None
    written = resolved.model_dump(mode="json", exclude_unset=True)
    asked = {"dataset_key": written.pop("dataset", None)}
    asked |= {name: written.pop(name) for name in ("model_id", "engine") if name in written}
    asked |= {name: value for name, value in given.items() if value is not None}
    if asked["dataset_key"] is None:
        raise BadInput(
            "No data set is named.",
            hint="Add --dataset KEY or `dataset: KEY` to the config; see what there is: tunix-rt datasets list",
        )
    return asked | {"config": written}


def _queued(run: dict[str, Any], follow: bool, as_json: bool) -> None:
    if as_json:
        show.document(run)
        return
    click.echo(run["run_id"])
    if run.get("status_reason"):
        show.say(f"{run['status']}: {show.printable(run['status_reason'])}")
    if not follow:
        show.say(f"Next: tunix-rt runs logs {run['run_id']} -f")


def _finish(ended: dict[str, Any] | None, as_json: bool) -> None:
    """End with exit code 1 where a run that we waited for did not complete."""
    if ended is None or ended["status"] == "completed":
        return
    if not as_json:
        click.secho(f"The run is {ended['status']}.", fg="red", err=True)
    raise click.exceptions.Exit(1)


# --- watch ------------------------------------------------------------------------------------------------------


@runs.command()
@click.argument("run")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run is over, through restarts of the server.")
@click.option("--since-seq", type=click.IntRange(min=0), help="Only what comes after this number (see --json).")
@click.option("--raw", is_flag=True, help="The exact bytes, control characters included.")
@show.json_option
@click.pass_obj
def logs(obj: dict[str, Any], run: str, follow: bool, since_seq: int | None, raw: bool, as_json: bool) -> None:
    """Print what run RUN printed.

    Its stdout goes to stdout, its stderr to stderr; with --json, each event is a line. Colours stay on a terminal;
    every other control character is shown, never obeyed.
    """
    if raw and as_json:
        raise WrongUsage("--raw and --json exclude each other; in JSON a chunk is complete as it is.")

    async def work() -> None:
        async with door.client(obj["url"]) as api:
            follower = Follower(api, run, Screen(raw=raw, as_json=as_json, told=follow), since_seq)
            if follow:
                await follower.follow()
                return
            try:
                await follower.read()
            finally:
                if follower.ended is None and not as_json:
                    seen = "" if follower.seen is None else f" --since-seq {follower.seen}"
                    show.say(f"There may be more to come: tunix-rt runs logs {run} -f{seen}")

    door.run(work())


# --- change -----------------------------------------------------------------------------------------------------


@runs.command()
@click.argument("run")
@show.json_option
@click.pass_obj
def cancel(obj: dict[str, Any], run: str, as_json: bool) -> None:
    """Cancel run RUN; what it printed and its checkpoints are kept."""
    found = _post(obj["url"], address(run, "cancel"))
    if as_json:
        show.document(found)
        return
    click.echo(f"{found['run_id']}  {found['status']}")
    if found["status"] == "cancel_requested":
        show.say(f"The training is asked to end. Watch it: tunix-rt runs logs {run} -f")


@runs.command()
@click.argument("run")
@show.json_option
@click.pass_obj
def checkpoint(obj: dict[str, Any], run: str, as_json: bool) -> None:
    """Have the training of run RUN save a checkpoint after its present step, and go on."""
    found = _post(obj["url"], address(run, "checkpoint"))
    if as_json:
        show.document(found)
        return
    click.echo(f"{found['run_id']}  {found['status']}")
    show.say(f"It is asked for a checkpoint. See it: tunix-rt runs artifacts {run}")


@runs.command()
@click.argument("run")
@click.option("--from-start", is_flag=True, help="Do not go on from the last checkpoint.")
@show.json_option
@click.pass_obj
def retry(obj: dict[str, Any], run: str, from_start: bool, as_json: bool) -> None:
    """Queue run RUN once more; prints the new id.

    It goes on from the last checkpoint that RUN left.
    """
    _queued(_post(obj["url"], address(run, "retry"), json={"from_start": from_start}), False, as_json)


@runs.command()
@click.argument("run")
@click.option("--eval-set", "eval_set", help="Name or digest; default: the run's, else its data set's held-out split.")
@click.option("--judge", help="How answers are judged; default: answer_correctness.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest answer; default: 256.")
@click.option("--temperature", type=click.FloatRange(min=0), help="Default: 0, greedy.")
@click.option("--samples", type=click.IntRange(min=1, max=999), help="Answers an item; default: 1.")
@click.option("--seed", type=click.IntRange(min=0, max=2**31 - 1))
@show.json_option
@click.pass_obj
def evaluate(obj: dict[str, Any], /, run: str, as_json: bool, **asked: Any) -> None:
    """Let the model of run RUN answer an eval set, and judge the answers."""
    body = {key: value for key, value in asked.items() if value is not None}
    found = _post(obj["url"], address(run, "evaluate"), json=body)
    if as_json:
        show.document(found)
    else:
        show_evaluation(found)


def _post(url: str | None, path: str, **request: Any) -> Any:
    async def work() -> Any:
        async with door.client(url) as api:
            return await door.call(api, "POST", path, **request)

    return door.run(work())
