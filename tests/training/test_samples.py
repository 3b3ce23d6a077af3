"""Samples: prompts answered at each evaluation by the parameters of that moment, without a trace in the training."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.make import run_folder
from tests.training.make_engine import Events, config, job, stop_after
from tunix_rt.base.errors import BadInput
from tunix_rt.training import child, events, samples
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    ENGINES,
    Samples,
    Sampling,
    abilities,
    checkpoints,
    jax_generation,
    load,
    memory_formula,
)
from tunix_rt.training.engines.memory import Memory, Shape

EACH = pytest.mark.parametrize("engine", ENGINES)
PROMPTS = [[1, 2, 3], [5, 7, 9, 11]]
SAMPLING = Sampling(6, 0.0, 0, (1,))


def words(ids: list[int]) -> str:
    return " ".join(map(str, ids))


ASKED = Samples(tuple(map(words, PROMPTS)), PROMPTS, SAMPLING, words)


def train(engine: str, folder: Path, **changes: Any) -> Events:
    told = Events()
    load(engine).train(job(folder, emit=told, **changes))
    return told


def answers(engine: str, model: Path) -> list[tuple[str, str, str]]:
    """What a finished model says, by the door of `tunix-rt generate`."""
    found = load(engine).generate(model, PROMPTS, SAMPLING, lambda _: None)
    return [
        (words(prompt), words(each.tokens), each.finish_reason) for prompt, each in zip(PROMPTS, found, strict=True)
    ]


def last(told: Events) -> list[tuple[str, str, str]]:
    said = told.of("sample")
    return [(one["prompt"], one["output"], one["finish_reason"]) for one in said if one["step"] == said[-1]["step"]]


def compiled() -> int:
    count: int = jax_generation._answer._cache_size()
    return count


@EACH
def test_with_samples_a_training_is_the_same_to_the_bit_also_resumed(engine: str, tmp_path: Path) -> None:
    chosen = config(steps=6, eval_every_steps=2, checkpoint_every_steps=6, activation_checkpointing=True)
    plain = train(engine, tmp_path / "plain", config=chosen)
    before = train(engine, tmp_path / "sampled", config=chosen, samples=ASKED, stopping=stop_after(3))
    newest = checkpoints.listed(tmp_path / "sampled")[-1]
    programs = compiled()
    after = train(engine, tmp_path / "sampled", config=chosen, samples=ASKED, resume_from=newest)
    assert compiled() <= programs + 1, "one program answers at every evaluation"
    assert before.losses() | after.losses() == plain.losses()
    assert [event["loss"] for event in before.of("eval") + after.of("eval")] == [e["loss"] for e in plain.of("eval")]
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("plain", "sampled"))
    assert one == other
    order = [(kind, fields["step"]) for kind, fields in after.all if kind != "step"]
    assert order == [("eval", 4), *2 * [("sample", 4)], ("eval", 6), *2 * [("sample", 6)], ("checkpoint", 6)]
    assert last(after) == answers(engine, tmp_path / "sampled" / "model") != last(before)


@EACH
def test_samples_of_an_adapter_are_the_adapted_models(engine: str, tmp_path: Path) -> None:
    train(engine, tmp_path / "base", config=config(steps=0))
    base = tmp_path / "base" / "model"
    chosen = config(method="lora", lora={"rank": 2}, model_id=str(base), steps=4, learning_rate=0.1)
    told = train(engine, tmp_path / "run", config=chosen, base=base, samples=ASKED)
    assert last(told) == answers(engine, tmp_path / "run" / "model") != answers(engine, base)


@EACH
def test_a_run_answers_the_first_different_prompts_of_its_evaluation_split(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "LONGEST_TOKENS", 8)
    asked: dict[str, Any] = {"samples": 3, "steps": 2, "eval_every_steps": 1, "checkpoint_every_steps": 2}
    run = run_folder(tmp_path / "run", engine=engine, precision="bfloat16", **asked)
    path = run.path / "data" / "eval.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, first.replace(b'"t40"', b'"again"'), *rest[:1]]))
    told: list[tuple[str, dict[str, Any]]] = []
    child.run(run, child.prepare(run, "cpu"), False, lambda event, fields: told.append((event, fields)))
    said = [event for event in events.read(run.events) if event["event"] == "sample"]
    assert [(one["step"], one["prompt"]) for one in said] == [*itertools.product((1, 2), ("40+5?", "41+6?"))]
    assert all(isinstance(one["output"], str) and len(one["output"]) <= samples.LONGEST_TOKENS for one in said)
    [warned] = [fields["detail"] for event, fields in told if event == "warning"]
    assert warned == "2 of 3 samples: the evaluation split has no more different prompts"


def test_samples_that_cannot_be_are_refused_before_the_start(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", samples=2)
    (run.path / "data" / "eval.jsonl").write_bytes(b"")
    with pytest.raises(BadInput, match="samples: 2 prompts of the split 'eval'") as caught:
        child.prepare(run, "cpu")
    assert "data.eval_split" in (caught.value.hint or "")
    with pytest.raises(ValueError, match="samples need steps"):
        TrainingConfig(samples=1, steps=0)
    apart = run_folder(tmp_path / "apart", engine="torch", samples=2, mesh={"data": 2})
    with pytest.raises(BadInput, match="here are 2") as caught:
        child.prepare(apart, "cpu")
    assert [fault.pointer for fault in caught.value.faults] == ["samples"]
    assert "engine: tunix" in (caught.value.hint or "")
    abilities.refuse_here(TrainingConfig(samples=2), ["tpu:0", "tpu:1"])
    abilities.refuse_here(TrainingConfig(engine="torch", samples=2), ["gpu:0"])
    abilities.refuse_here(TrainingConfig(engine="torch"), ["gpu:0", "gpu:1"])


def test_samples_count_in_the_memory_where_they_take_more_than_a_step(tmp_path: Path) -> None:
    chosen, rows = config(samples=2), child.account(run_folder(tmp_path / "run")).rows["eval"]
    d = memory_formula.dimensions(chosen, Shape(4, 24), 32, None)
    little = Memory("formula", *(10, 10, 20, 30, 30, 10), available=None)
    cache = 2 * 2 * 2 * (8 + 128) * d.layers * d.kv_heads * d.head_size * 4  # 2 copies, keys and values, 2 prompts
    assert max(row.start for row in rows) <= 8
    more = samples.counted(little, chosen, d, rows)
    assert more.peak > cache
    assert more.terms | {"temporary": 10} == little.terms
    much = replace(little, activations=10**9)
    assert samples.counted(much, chosen, d, rows) == much
    assert samples.counted(little, config(), d, rows) == little
