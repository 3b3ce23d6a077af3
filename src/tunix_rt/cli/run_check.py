"""What a dry run found, as a person reads it."""

from typing import Any

import click

from tunix_rt.base import jsontext
from tunix_rt.base.errors import Failed, Fault, cut
from tunix_rt.cli import show

SHOWN = {  # of each check, the facts that a person asks for; --json has them all
    "config": ("model_id", "method", "precision", "batch_size", "accumulation", "learning_rate", "seed"),
    "dataset": ("dataset_key", "digest"),
    "engine": ("name", "version"),
    "device": ("found",),
    "plan": ("steps", "epochs", "rows", "parameters", "tokens_per_step", "peak_bytes", "available_bytes"),
    "disk": ("needed_bytes", "free_bytes"),
}
MARKS = {True: "ok", False: "FAILED", None: "not checked"}


def tell(run: dict[str, Any], as_json: bool) -> None:
    """Show what a dry run found.

    Raises:
        Failed: the run would not start; the first failed check says why. In JSON the exit code alone.
    """
    checks = dict(run.get("checks") or {})
    ok = checks.pop("ok", True) is not False and run["status"] == "completed"
    if as_json:
        show.document(run)
        if not ok:
            raise click.exceptions.Exit(1)
        return
    show.table(
        ["check", "", "found"], [[name, MARKS[check["ok"]], _facts(name, check)] for name, check in checks.items()]
    )
    if ok:
        show.say("Nothing was trained. To queue it, leave out --dry-run.")
        return
    problem: dict[str, Any] = next((check["problem"] for check in checks.values() if check.get("problem")), {})
    faults = [Fault(fault["pointer"], fault["detail"]) for fault in problem.get("faults") or ()]
    why = problem.get("detail") or run.get("status_reason") or f"the dry run is {run['status']}."
    raise Failed(f"It would not start: {why}", hint=problem.get("hint"), faults=faults)


def _facts(name: str, check: dict[str, Any]) -> str:
    if check.get("problem"):
        return str(check["problem"]["detail"])
    if name == "ledger":
        return "; ".join(_rows(split, ledger) for split, ledger in check.items() if isinstance(ledger, dict))
    wanted = SHOWN.get(name) or [key for key, value in check.items() if key != "ok" and not isinstance(value, dict)]
    known = {key: check[key] for key in wanted if check.get(key) is not None}
    return ", ".join(f"{key.removesuffix('_bytes')} {_said(key, value)}" for key, value in known.items())


def _rows(split: str, ledger: dict[str, Any]) -> str:
    rows = ledger["rows"]
    left_out = sum(rows["rejected"].values())
    notes = [f"{count:,} {word}" for count, word in ((left_out, "left out"), (rows["truncated"], "truncated")) if count]
    return f"{split} {rows['trained']:,} of {rows['total']:,} rows" + (f" ({', '.join(notes)})" if notes else "")


def _said(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        size = sum(value.values()) if isinstance(value, dict) else value
        return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.2f} GiB"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return cut(jsontext.dumps(value).decode())
    return f"{value:,}" if isinstance(value, int) and key != "seed" else str(value)
