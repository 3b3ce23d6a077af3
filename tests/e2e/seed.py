"""What the screens show in tests and pictures, and where each screen is."""

import uuid

from tests.evaluation.make import answers, jsonl, questions
from tests.runs.system import System, until

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
    "run-files": "/runs/{run}?tab=files",
    "run-config": "/runs/{run}?tab=config",
    "run-history": "/runs/{run}?tab=history",
    "leaderboard": "/leaderboard",
    "evaluations": "/evaluations",
    "evaluations-compare": "/evaluations/compare?base={evaluation}&other={other_evaluation}",
    "evaluation": "/evaluations/{evaluation}",
    "gates": "/gates",
    "system": "/system",
    "not-found": "/no/such/page",
}
"""Every screen by name; what stands in braces is of `seed`."""


def seed(system: System, rows: int = 60) -> dict[str, str]:
    """Something on every screen of a system whose trainings are played; the ids that the screens need."""
    dataset = system.data_set(rows=rows)
    run = system.submit(dataset, f"seeded-{uuid.uuid4()}", config={"steps": 60})
    until(lambda: system.status(run) == "completed", "completed")
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
    return {
        "dataset": dataset,
        "run": run,
        "trace": traces[0],
        "other_trace": traces[1],
        "evaluation": evaluations[0],
        "other_evaluation": evaluations[1],
    }
