"""Every config under configs/ loads, and trains at a reduced size on a CPU."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.make import run_folder
from tunix_rt.training import child, config, events
from tunix_rt.training.folder import RunFolder

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SMALL = {"layers": 1, "width": 16, "hidden": 32, "heads": 2, "kv_heads": 2}


def _train(path: Path, base: Path | None, values: dict[str, Any]) -> RunFolder:
    run = run_folder(path, base=base, **values)
    child.run(run, child.prepare(run, "cpu"), resume=False)
    return run


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Gemma 2 of 6,000 parameters."""
    path = tmp_path_factory.mktemp("gemma") / "run"
    return _train(path, None, {"steps": 0, "model": SMALL | {"family": "gemma2"}}).model


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_config_trains_at_a_reduced_size(path: Path, gemma: Path, tmp_path: Path) -> None:
    chosen = config.load(path)
    values = chosen.model_dump(exclude={"model"}) | {"epochs": None, "steps": 3, "warmup_steps": 1, "batch_size": 2}
    base = None if chosen.model_id == "scratch" else gemma
    if base is None:
        values["model"] = SMALL
    else:
        values["model_id"] = str(gemma)
    values["data"] |= {"max_length": min(64, chosen.data.max_length or 64)}
    values |= {"eval_every_steps": 3, "checkpoint_every_steps": 3}
    run = _train(tmp_path / "run", base, values)
    found = {event["event"]: event for event in events.read(run.events)}
    assert found["end"]["reason"] == "completed"
    assert found["parity"]["logits"]["ok"]
    assert (run.model / "README.md").is_file()
    assert (run.model / "adapter_config.json").is_file() == (chosen.method == "lora")
