"""Builders of what the registry holds: runs that are completed, with models that are whole and tiny."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests import make
from tests.make import Hand
from tests.training.make import tokenizer_folder, trace
from tunix_rt.base.settings import Settings
from tunix_rt.jobs.retry import End


def tensors(path: Path, numbers: Sequence[float]) -> None:
    """A safetensors file of one tensor."""
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    header = {"w": {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [0, len(data)]}}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path: Path) -> list[float]:
    """The numbers of such a file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    start, stop = json.loads(data[8 : 8 + length])["w"]["data_offsets"]
    body = data[8 + length :]
    return list(struct.unpack(f"<{(stop - start) // 4}f", body[start:stop]))


def model(folder: Path, seed: float = 1.0, card: str = "# A model\n") -> Path:
    """A model's folder in the Hugging Face layout; each seed another one."""
    folder.mkdir(parents=True)
    tokenizer_folder(folder, trace())
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 16}))
    (folder / "README.md").write_text(card)
    tensors(folder / "model.safetensors", [seed, 2.0, 3.0])
    return folder


def hand_of(api: httpx.AsyncClient, settings: Settings) -> Hand:
    """A worker beside the application."""
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    return Hand(app.state.database, settings)


async def completed(api: httpx.AsyncClient, hand: Hand, seed: float = 1.0, **request: Any) -> str:
    """A completed run with a model; returns its id."""
    run = await make.run(api, **request)
    job = await hand.takes()
    model(make.folder(hand.settings, run) / "model", seed)
    await hand.ends(job, make.ended(End.DONE))
    return run


async def promoted(api: httpx.AsyncClient, run: str, name: str = "sums", **about: Any) -> dict[str, Any]:
    """A version of a family that is made where it is not there."""
    await api.post("/api/models", json={"name": name})
    answer = await api.post(f"/api/models/{name}/promote", json={"run_id": run, **about})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def stored(settings: Settings, sha256: str) -> Path:
    """Where a file of the registry lies."""
    return settings.home / "registry" / "files" / sha256[:2] / sha256
