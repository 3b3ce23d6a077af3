"""What the screens show in tests and pictures, and where each screen is."""

import uuid
from typing import Any

from tests.evaluation.make import answers, jsonl, questions
from tests.registry.make import model, tensors
from tests.runs.system import System, until
from tunix_rt.evaluation import generation
from tunix_rt.training.decoding import Decoding

SCREENS = {
    "home": "/",
    "traces": "/traces",
    "traces-new": "/traces/new",
    "traces-compare": "/traces/compare?base={trace}&other={other_trace}",
    "trace": "/traces/{trace}",
    "datasets": "/datasets",
    "dataset-new": "/datasets/new",
    "dataset": "/datasets/{dataset}",
    "runs": "/runs",
    "run-new": "/runs/new",
    "run": "/runs/{run}",
    "run-logs": "/runs/{run}?tab=logs",
    "run-samples": "/runs/{run}?tab=samples",
    "run-samples-all": "/runs/{run}?tab=samples&view=all",
    "run-lineage": "/runs/{run}?tab=lineage",
    "runs-compare": "/runs/compare?run={run}&run={other_run}",
    "runs-compare-pick": "/runs/compare",
    "run-files": "/runs/{run}?tab=files",
    "run-config": "/runs/{run}?tab=config",
    "run-history": "/runs/{run}?tab=history",
    "leaderboard": "/leaderboard",
    "evaluations": "/evaluations",
    "evaluations-compare": "/evaluations/compare?base={evaluation}&other={other_evaluation}",
    "evaluation": "/evaluations/{evaluation}",
    "gates": "/gates",
    "models": "/models",
    "model": "/models/sums",
    "model-aliases": "/models/sums?tab=aliases",
    "model-version": "/models/sums?tab=version&version=1",
    "system": "/system",
    "not-found": "/no/such/page",
}
"""Every screen by name; what stands in braces is of `seed`."""


def seed(system: System, rows: int = 60) -> dict[str, str]:
    """Something on every screen of a system whose trainings are played; the ids that the screens need."""
    dataset = system.data_set(rows=rows)
    run = system.submit(dataset, f"seeded-{uuid.uuid4()}", config={"steps": 60, "samples": 2})
    other_run = system.submit(dataset, f"seeded-{uuid.uuid4()}", config={"steps": 40, "samples": 2, "seed": 1})
    until(lambda: system.status(run) == system.status(other_run) == "completed", "completed")
    traces = [row["id"] for row in system.get("/api/traces", limit=2)["data"]]
    stored = system.api.post("/api/eval-sets", params={"name": "sums"}, content=jsonl(questions()))
    assert stored.status_code in (200, 201), stored.text
    evaluations = []
    for name, share in (("base", 3), ("better", 5)):
        query = {"name": name, "eval_set": stored.json()["name"]}
        predictions = jsonl(answers(right=lambda item, share=share: item % share > 0))  # type: ignore[misc]  # bound now
        made = system.api.post("/api/evaluations", params=query, content=predictions)
        assert made.status_code == 201, made.text
        evaluations.append(made.json()["id"])
    _promote(system, run, stored.json())
    model(system.home / "runs" / other_run / "model", card=CARD)
    _evaluate(system, other_run, stored.json(), 29)
    return {
        "dataset": dataset,
        "run": run,
        "other_run": other_run,
        "trace": traces[0],
        "other_trace": traces[1],
        "evaluation": evaluations[0],
        "other_evaluation": evaluations[1],
    }


CARD = """---
library_name: "transformers"
---

# A model trained from scratch on `sums-v1`

| figure | value | over (n) |
|---|---|---|
| `optimizer steps` | `60` | `tunix, seed 0` |

- Token ids of 24 prompts: training and generation differ in **0**.

```sh
tunix-rt train config.yaml --dataset sums-v1
```

<img src=x onerror="document.title='obeyed'"> [a link](javascript:alert(1))
"""


def _promote(system: System, run: str, eval_set: dict[str, Any]) -> None:
    """Two versions of a model: a played training leaves none, and no answers; they are put into the run's folder."""
    folder = model(system.home / "runs" / run / "model", card=CARD)
    _evaluate(system, run, eval_set, 26)
    described = {"name": "sums", "description": "Adds two numbers, and shows how."}
    for path, body in (
        ("", described),
        ("/sums/promote", {"run_id": run, "alias": "production", "actor": "ann"}),
    ):
        system.api.post(f"/api/models{path}", json=body).raise_for_status()
    tensors(folder / "model.safetensors", [2.0] * 9)
    _evaluate(system, run, eval_set, 34)
    asked = {"run_id": run, "alias": "production", "actor": "bob", "reason": "better on the harder sums"}
    system.api.post("/api/models/sums/promote", json=asked).raise_for_status()
    for alias in ("candidate", "previous"):
        body = {"version": "2" if alias == "candidate" else "1", "actor": "ci"}
        system.api.put(f"/api/models/sums/aliases/{alias}", json=body).raise_for_status()


def _evaluate(system: System, run: str, eval_set: dict[str, Any], right: int) -> None:
    place = generation.place(system.home / "runs" / run, eval_set["digest"], Decoding())
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(jsonl(answers(right=lambda item: item < right)))
    body = {"eval_set": eval_set["name"]}
    system.api.post(f"/api/tunix/runs/{run}/evaluate", json=body, timeout=60).raise_for_status()
