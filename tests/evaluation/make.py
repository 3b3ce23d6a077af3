"""Builders of eval sets and predictions, as the files that users upload."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tunix_rt.training.decoding import Decoding


def jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def questions(count: int = 40, **extra: Any) -> list[dict[str, Any]]:
    """`count` questions; the answer to number i is i."""
    return [
        {
            "id": f"q{i}",
            "prompt": f"What is {i} + 0?",
            "expected_answer": str(i),
            "section": "even" if i % 2 == 0 else "odd",
            "difficulty": i % 3,
            **extra,
        }
        for i in range(count)
    ]


def answers(count: int = 40, right: Callable[[int], bool] = lambda _: True) -> list[dict[str, Any]]:
    """A prediction for each question: right where `right(i)` says so."""
    return [{"id": f"q{i}", "output": f"Some thoughts.\nAnswer: {i if right(i) else i + 1000}"} for i in range(count)]


async def store(api: httpx.AsyncClient, items: list[dict[str, Any]] | None = None, **params: Any) -> dict[str, Any]:
    """Upload an eval set; returns it."""
    answer = await api.post("/api/eval-sets", params=params, content=jsonl(items or questions()))
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def evaluate(
    api: httpx.AsyncClient, name: str, predictions: list[dict[str, Any]], eval_set: str, **params: Any
) -> dict[str, Any]:
    """Upload predictions; returns the evaluation."""
    query = {"name": name, "eval_set": eval_set, **params}
    answer = await api.post("/api/evaluations", params=query, content=jsonl(predictions))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def decoded_lines(decoding: Decoding, right: int = 40) -> bytes:
    """A file of predictions as `generate` writes it."""
    return jsonl(row | {"decoding": decoding.digest} for row in answers(right=lambda i: i < right))


def sidecar_of(content: bytes, decoding: Decoding, /, **changed: Any) -> dict[str, Any]:
    """The sidecar of a file of predictions; a value of None leaves a field out."""
    found = {
        "predictions": "sha256:" + hashlib.sha256(content).hexdigest(),
        "decoding": decoding.parameters,
        "decoding_digest": decoding.digest,
        "seed": decoding.seed,
        "model": {"name": "small"},
    }
    return {key: value for key, value in (found | changed).items() if value is not None}


def write_described(path: Path, content: bytes, decoding: Decoding, /, **changed: Any) -> None:
    """Write a file of predictions with its sidecar."""
    path.write_bytes(content)
    path.with_name(f"{path.name}.meta.json").write_text(json.dumps(sidecar_of(content, decoding, **changed)))
