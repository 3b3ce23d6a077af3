"""Builders of what training reads: traces, tokenizer folders and run directories."""

import json
from pathlib import Path
from typing import Any

from tunix_rt.training import folder, tokenizer
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.render import completion
from tunix_rt.training.tokenizer import Folder


def trace(
    name: str = "t", prompt: str = "1+2?", steps: tuple[str, ...] = ("1+2=3",), answer: str = "3"
) -> dict[str, Any]:
    """A trace as an export gives it."""
    return {
        "id": name,
        "trace_version": "1.0",
        "prompt": prompt,
        "steps": [{"i": i, "type": "step", "content": content} for i, content in enumerate(steps)],
        "final_answer": answer,
        "meta": {},
    }


def tokenizer_folder(
    folder: Path, *traces: dict[str, Any], kind: str = "character", template: str | None = None, **config: Any
) -> Folder:
    """A tokenizer trained on traces, with another chat template or other config where they are given."""
    texts = [t["prompt"] + "\n" + completion(t, kind_) for t in traces for kind_ in ("reasoning", "answer")]
    tokenizer.train(texts, kind, 400, folder)
    path = folder / "tokenizer_config.json"
    changed = json.loads(path.read_text()) | config | ({"chat_template": template} if template is not None else {})
    path.write_text(json.dumps(changed))
    return Folder(folder)


def sums(first: int, count: int) -> list[bytes]:
    """Lines of an export: sums of small numbers."""
    made = (trace(f"t{n}", f"{n}+{n % 7}?", (f"{n}+{n % 7}={n + n % 7}",), str(n + n % 7)) for n in range(first, count))
    return [json.dumps(one).encode() + b"\n" for one in made]


def run_folder(path: Path, lines: list[bytes] | None = None, base: Path | None = None, **config: Any) -> RunFolder:
    """A run directory of a tiny model that learns 40 sums in 24 steps."""
    values: dict[str, Any] = {
        "steps": 24,
        "batch_size": 4,
        "checkpoint_every_steps": 4,
        "eval_every_steps": 6,
        "model": {"layers": 1, "width": 16, "hidden": 32, "heads": 2, "kv_heads": 2},
    }
    resolved = TrainingConfig.model_validate(values | config)
    splits = {"train": sums(0, 40) if lines is None else lines, "eval": sums(40, 50)}
    dataset = {"dataset_key": "sums-v1", "digest": "sha256:1", "splits": {"train": 40, "eval": 10}}
    return folder.fill(path, resolved, splits, dataset, "cpu", base)


def files(run: RunFolder) -> dict[str, tuple[int, bytes]]:
    """When each file of a run directory was written, and what it holds."""
    found = (path for path in run.path.rglob("*") if path.is_file())
    return {path.relative_to(run.path).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}
