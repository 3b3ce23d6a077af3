"""A training told in plain lines: what an event says to a person."""

from collections.abc import Callable, Mapping
from typing import Any

from tunix_rt.training.events import number


def line(event: str, fields: Mapping[str, Any], total: int | None = None) -> str | None:
    """What an event says, or None where that is nothing for a person.

    Args:
        event: its name.
        fields: its fields, as they were given to `emit` or as they stand in events.jsonl.
        total: optimizer steps in all, as the `plan` event said.

    Returns:
        A line; a few of them for `plan` and `check`.
    """
    told = _LINES.get(event)
    return told(fields, f"{fields['step']}/{total}" if total is not None and "step" in fields else "") if told else None


def figures(fields: Mapping[str, Any]) -> str:
    """A step's loss and speed."""
    return f"loss {number(fields['loss']):.4f}  {number(fields['tokens_per_second']):,.0f} tokens/s"


def _plan(fields: Mapping[str, Any], _: str) -> str:
    rows = fields["ledger"]["train"]["rows"]
    left_out = sum(rows["rejected"].values())
    resumed = fields["resumed_from"]
    return (
        f"{fields['parameters']:,} parameters on {fields['device']}; {rows['trained']:,} rows"
        + (f" ({left_out} left out, {rows['truncated']} truncated)" if left_out or rows["truncated"] else "")
        + f", {fields['steps']:,} steps of {fields['tokens_per_step']:,} tokens"
        + (f"\nGoing on from step {int(resumed.removeprefix('step-'))}" if resumed else "")
    )


def _step(fields: Mapping[str, Any], place: str) -> str:
    return f"step {place or fields['step']}  {figures(fields)}"


def _evaluation(fields: Mapping[str, Any], place: str) -> str:
    return f"step {place or fields['step']}  evaluation loss {number(fields['loss']):.4f}"


def _checkpoint(fields: Mapping[str, Any], place: str) -> str:
    best = ", the best so far" if fields.get("best") else ""
    return f"step {place or fields['step']}  checkpoint {fields['path']}{best}"


def _sample(fields: Mapping[str, Any], place: str) -> str:
    return f"step {place or fields['step']}  {fields['prompt']!r} -> {fields['output']!r}"


def _parity(fields: Mapping[str, Any], _: str) -> str:
    tokens, logits = fields["tokens"], fields["logits"]
    return "; ".join(
        (
            f"{tokens['differences']} differences in the token ids of {tokens['prompts']:,} prompts and rows"
            if tokens["checked"]
            else f"token ids not compared with transformers: {tokens['reason']}",
            f"logits differ from transformers' by at most {number(logits['largest_difference']):.2g}"
            if logits["checked"]
            else f"logits not compared with transformers: {logits['reason']}",
        )
    )


def _warning(fields: Mapping[str, Any], _: str) -> str:
    changed = "; ".join(f"{name}: {before} -> {now}" for name, (before, now) in fields.get("changed", {}).items())
    return f"Warning: {fields['detail']}" + (f" ({changed})" if changed else "")


def _check(fields: Mapping[str, Any], _: str) -> str:
    return "\n".join(f"{name:<9}{_checked(fields[name], tell)}" for name, tell in _FACTS.items())


def _checked(found: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], str]) -> str:
    if found["ok"] is None:
        return "not checked"
    return tell(found) if found["ok"] else f"failed: {found['problem']['detail']}"


def _end(fields: Mapping[str, Any], place: str) -> str:
    if fields["reason"] == "failed":
        return f"Failed: {fields['detail']}"
    if fields["reason"] == "stopped":
        return f"Stopped at step {place or fields['step']}"
    early = ", ended early: the evaluation loss fell no more" if fields.get("early") else ""
    best = f", model/ is of step {fields['best_step']}" if fields.get("best_step") else ""
    return "Completed" + (f": {fields['step']} steps{early}{best}" if "step" in fields else "")


_LINES: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "plan": _plan,
    "step": _step,
    "eval": _evaluation,
    "checkpoint": _checkpoint,
    "sample": _sample,
    "parity": _parity,
    "warning": _warning,
    "check": _check,
    "end": _end,
}

_FACTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "config": lambda found: f"{found['engine']}, {found['method']}, from {found['model_id']}",
    "dataset": lambda found: f"{found['dataset_key']}, as it was sealed",
    "ledger": lambda found: "{trained:,} of {total:,} rows are trained".format(**found["train"]["rows"]),
    "engine": lambda found: f"{found['name']} {found['version']}",
    "device": lambda found: ", ".join(found["found"]),
    "plan": lambda found: f"{found['parameters']:,} parameters, {found['steps']:,} steps",
    "disk": lambda found: f"{found['needed_bytes']:,} bytes needed, {found['free_bytes']:,} free",
}
