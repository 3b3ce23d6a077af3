"""Serving parity: what was trained, what the generator is given and what transformers makes of the folder, compared."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunix_rt.base import extras
from tunix_rt.base.errors import BadInput, Failed
from tunix_rt.training import engines, render
from tunix_rt.training.config import DataChoice
from tunix_rt.training.engines import lora, transformers_parity
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.generate import given
from tunix_rt.training.tokenizer import Folder

TOLERANCE = 1e-4
"""Largest difference of two logits, float32."""
PROMPTS, LOGIT_ROWS = 500, 4
_LARGEST_AT_THE_END = 2**30
"""Bytes of weights over which a training's end leaves the logits to `models check`: two copies may not fit."""


@dataclass(frozen=True)
class Sample:
    """What is compared.

    Attributes:
        traces: with prompt, steps and final_answer.
        template: of the completions.
        tokenizer: folder that the training rendered with.
        source: where the traces come from, for the report.
    """

    traces: list[dict[str, Any]]
    template: str
    tokenizer: Path
    source: str


def of_run(folder: RunFolder, limit: int = PROMPTS) -> Sample:
    """The first held-out traces of a run; those of training where it holds none out."""
    for split in ("eval", "train"):
        if traces := list(itertools.islice(folder.traces(split), limit)):
            return Sample(traces, folder.config.data.template, folder.tokenizer, split)
    raise BadInput(f"{folder.path} holds no traces to compare.", hint="Name a file of them: --data FILE.")


def check_tokens(model: Path, sample: Sample) -> dict[str, Any]:
    """Compare the token ids of prompts and of whole rows.

    Args:
        model: the result's folder.
        sample: what is compared.

    Returns:
        `prompts` and `rows` that were compared, `left_out` (never trained, for they render wrongly), `differences`,
        and the `first` of them: `id`, `part` (prompt or row) and `tokens` by who made them.

    Raises:
        MissingExtra: transformers is not installed.
        Failed: transformers does not load the folder.
        BadInput: not one row of the sample can be rendered.
    """
    training, choice = Folder(sample.tokenizer), DataChoice.model_validate({"template": sample.template})
    rows = [(trace, render.row(trace, training, choice)) for trace in sample.traces]
    kept = [(trace, row) for trace, row in rows if isinstance(row, render.Row)]
    if not kept:
        raise BadInput(f"None of {len(rows)} rows of {sample.source} can be rendered for {model}.")
    theirs, serving = transformers_parity.Tokens(model), Folder(model)
    generator = given(serving, [(str(trace["id"]), str(trace["prompt"])) for trace, _ in kept])
    first: dict[str, Any] | None = None
    differences = 0
    for (trace, row), served in zip(kept, generator, strict=True):
        prompt, said = str(trace["prompt"]), render.completion(trace, sample.template)
        parts = {
            "prompt": {
                "training": render.prompt_tokens(prompt, training),
                "generator": served,
                "transformers": theirs.prompt(prompt),
            },
            "row": {"training": row.tokens, "transformers": theirs.row(prompt, said)},
        }
        for part, tokens in parts.items():
            if any(other != tokens["training"] for other in tokens.values()):
                differences += 1
                first = first or {"id": row.id, "part": part, "tokens": tokens}
    return {
        "source": sample.source,
        "prompts": len(kept),
        "rows": len(kept),
        "left_out": len(rows) - len(kept),
        "differences": differences,
        "first": first,
    }


def check_logits(model: Path, engine: str, sample: Sample, count: int = LOGIT_ROWS) -> dict[str, Any]:
    """Compare an engine's logits with transformers' on the first rows of a sample, in float32.

    Returns:
        `rows`, `tokens`, `largest_difference`, `tolerance`, `ok`.

    Raises:
        MissingExtra: a library is not installed.
        Failed: the folder does not load.
    """
    tokenizer, choice = Folder(model), DataChoice.model_validate({"template": sample.template})
    made = (render.row(trace, tokenizer, choice) for trace in sample.traces)
    rows = [row.tokens for row in itertools.islice((row for row in made if isinstance(row, render.Row)), count)]
    if not rows:
        raise BadInput(f"No row of {sample.source} can be rendered for {model}.")
    theirs = transformers_parity.transformers_logits(model, rows)
    engines.load(engine)  # says what is missing
    largest = _largest(transformers_parity.engine_logits(engine, model, rows), theirs)
    return {
        "engine": engine,
        "rows": len(rows),
        "tokens": sum(map(len, rows)),
        "largest_difference": largest,
        "tolerance": TOLERANCE,
        "ok": largest <= TOLERANCE,
    }


def at_the_end(folder: RunFolder) -> dict[str, Any]:
    """The check of a training's end: the fields of its `parity` event.

    A part that could not be checked has `checked` false and says why.
    """
    sample = of_run(folder)
    found: dict[str, Any] = {}
    if extras.missing("torch", transformers_parity.TOKENS):
        found["tokens"] = _unchecked(f"transformers is not installed. {extras.hint('torch')}")
    else:
        found["tokens"] = {"checked": True, **check_tokens(folder.model, sample)}
    adapted = lora.is_adapter(folder.model)
    size = _bytes([folder.model, *([lora.read_adapter(folder.model).base] if adapted else [])])
    needed = transformers_parity.ADAPTED_LOGITS if adapted else transformers_parity.LOGITS
    if missing := extras.missing("torch", needed):
        found["logits"] = _unchecked(f"not installed: {', '.join(missing)}. {extras.hint('torch')}")
    elif size > _LARGEST_AT_THE_END:
        found["logits"] = _unchecked(f"{size:,} bytes of weights: tunix-rt models check {folder.path}")
    else:
        found["logits"] = {"checked": True, **check_logits(folder.model, folder.config.engine, sample, 2)}
    return found


def refuse(found: dict[str, Any], where: Path) -> None:
    """Fail on a difference.

    Args:
        found: `tokens` and `logits`, as the checks gave them; either may be unchecked or absent.
        where: the folder that was checked.

    Raises:
        Failed: what differs, the first prompt with all its token ids.
    """
    tokens, logits = found.get("tokens") or {}, found.get("logits") or {}
    if tokens.get("differences"):
        first = tokens["first"]
        lists = "".join(f"\n  {name:<13}{ids}" for name, ids in first["tokens"].items())
        raise Failed(
            f"{where} is served other tokens than were trained: {tokens['differences']} differences in "
            f"{tokens['prompts']} prompts and rows. First, the {first['part']} of {first['id']}:{lists}",
            hint="Its chat template or tokenizer reads differently in transformers; mend the base's, and train again.",
        )
    if logits.get("ok") is False:
        raise Failed(
            f"{where}: logits of {logits['engine']} and transformers differ by {logits['largest_difference']:.3g}, "
            f"over {TOLERANCE:g}, in {logits['tokens']} tokens.",
            hint="The weights were not written or are not read as they are; report it with the folder's config.json.",
        )


def _largest(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    found = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    return found if np.isfinite(found) else float("inf")


def _bytes(folders: Iterable[Path]) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*.safetensors"))


def _unchecked(reason: str) -> dict[str, Any]:
    return {"checked": False, "reason": reason}
