"""Builders of what training reads: traces and tokenizer folders."""

import json
from pathlib import Path
from typing import Any

from tunix_rt.training import tokenizer
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
