"""What every engine is asked for; `test_contract.py` collects it for each of them."""

import errno
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from tests.training.make_engine import ROWS, VOCABULARY, WIDTH, CountingRows, Events, config, job, stop_after
from tunix_rt.base.errors import BadInput, Conflict, DiskFull
from tunix_rt.training.engines import (
    ENGINES,
    Batch,
    Outcome,
    Sampling,
    checkpoints,
    load,
    tensor_files,
    transformers_parity,
)

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")
EACH = pytest.mark.parametrize("engine", ENGINES)
PROMPTS = [[1, 2, 3], [5, 7, 9, 11], [3] * 20]


def train(engine: str, folder: Path, **changes: Any) -> tuple[Outcome, Events]:
    events = Events()
    return load(engine).train(job(folder, emit=events, **changes)), events


class Packed(CountingRows):
    """The rows of `CountingRows`, two in one."""

    def training(self, step: int, micro: int) -> Batch:
        rows = super().training(step, micro)
        tokens, supervised, segments, positions = (np.zeros((ROWS // 2, 2 * WIDTH), kind) for kind in "i?ii")
        for number, length in enumerate(rows.lengths):
            start = 0 if number % 2 == 0 else int(rows.lengths[number - 1])
            place = number // 2, slice(start, start + length)
            tokens[place] = rows.tokens[number, :length]
            supervised[place] = rows.supervised[number, :length]
            segments[place], positions[place] = 1 + number % 2, np.arange(length)
        lengths = rows.lengths.reshape(-1, 2).sum(1).astype(np.int32)
        return Batch(tokens, supervised, lengths, rows.weight, segments, positions)


@EACH
def test_a_training_tells_its_steps_and_the_loss_falls(engine: str, tmp_path: Path) -> None:
    outcome, events = train(engine, tmp_path, config=config(steps=30))
    assert (outcome.reason, outcome.step) == ("completed", 30)
    losses = list(events.losses().values())
    assert len(losses) == 30
    assert losses[-1] < losses[0] - 1
    assert [event["step"] for event in events.of("eval")] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert events.of("checkpoint")[-1]["step"] == 30


@EACH
def test_a_training_that_was_stopped_goes_on_bit_for_bit(engine: str, tmp_path: Path) -> None:
    chosen = config(accumulation=2)
    whole = train(engine, tmp_path / "whole", config=chosen)[1].losses()
    stopped, before = train(engine, tmp_path / "parts", config=chosen, stopping=stop_after(5))
    assert stopped.reason == "stopped"
    newest = sorted((tmp_path / "parts" / "checkpoints").glob("step-*"))[-1]
    _, after = train(engine, tmp_path / "parts", config=chosen, resume_from=newest)
    assert before.losses() | after.losses() == whole
    for name in ("whole", "parts"):
        assert (tmp_path / name / "model" / "model.safetensors").is_file()
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == other


@EACH
def test_a_checkpoint_of_another_config_is_refused(engine: str, tmp_path: Path) -> None:
    train(engine, tmp_path, config=config(steps=4))
    [newest] = checkpoints.listed(tmp_path)
    with pytest.raises(Conflict) as caught:
        train(engine, tmp_path, config=config(steps=4, seed=1), resume_from=newest)
    assert [(fault.pointer, "0" in fault.detail and "1" in fault.detail) for fault in caught.value.faults] == [
        ("seed", True)
    ]


@EACH
def test_a_full_disk_keeps_the_checkpoints_that_are_there(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = tensor_files.write, []

    def fills_up(file: Any, shapes: Any, arrays: Any) -> None:
        written.append(file)
        if len(written) == 1:
            return write(file, shapes, arrays)
        file.write(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_files, "write", fills_up)
    with pytest.raises(DiskFull):
        train(engine, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    monkeypatch.undo()
    outcome, _ = train(engine, tmp_path, resume_from=tmp_path / "checkpoints" / "step-00000004")
    assert outcome.reason == "completed"


@EACH
def test_bfloat16_is_computed_and_written_but_float32_is_trained(engine: str, tmp_path: Path) -> None:
    _, events = train(engine, tmp_path, config=config(steps=30, precision="bfloat16", eval_every_steps=30))
    assert events.losses()[30] < events.losses()[1] - 1
    written = tensor_files.read(tmp_path / "model" / "model.safetensors")
    assert {array.dtype for array in written.values()} == {np.dtype(ml_dtypes.bfloat16)}
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    state = checkpoints.load(checkpoints.listed(tmp_path)[-1])
    assert np.dtype(ml_dtypes.bfloat16) not in {array.dtype for array in state.values()}


@EACH
def test_what_saves_memory_changes_no_step(engine: str, tmp_path: Path) -> None:
    dear: dict[str, Any] = {"steps": 3, "model": {"layers": 2}, "clip_norm": None}
    cheap = {"activation_checkpointing": True, "loss_chunk": 5}
    one, two = (
        train(engine, tmp_path / str(number), config=config(**dear, **savings))[1].of("step")
        for number, savings in enumerate(({}, cheap))
    )
    for name in ("loss", "grad_norm"):
        assert [step[name] for step in two] == pytest.approx([step[name] for step in one], rel=1e-5)
    plain, saved = (load_file(tmp_path / number / "model" / "model.safetensors") for number in "01")
    assert all(np.allclose(saved[name], array, atol=1e-5) for name, array in plain.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_engines_agree_on_losses_and_answers_and_transformers_with_both(family: str, tmp_path: Path) -> None:
    chosen = config(model={"family": family})
    found = [train(engine, tmp_path / engine, config=chosen)[1].losses() for engine in ENGINES]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    folder, sampling = tmp_path / "torch" / "model", Sampling(6, 0.0, 0, ())
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    greedy = [
        model.generate(torch.tensor([p]), max_new_tokens=6, do_sample=False, eos_token_id=None)[0, len(p) :].tolist()
        for p in PROMPTS
    ]
    theirs = np.concatenate(transformers_parity.transformers_logits(folder, PROMPTS))
    for engine in ENGINES:
        ours = np.concatenate(transformers_parity.engine_logits(engine, folder, PROMPTS))
        assert np.abs(ours - theirs).max() < 1e-4
        answers = load(engine).generate(folder, PROMPTS, sampling, lambda _: None)
        assert [answer.tokens for answer in answers] == greedy
        assert {answer.finish_reason for answer in answers} == {"length"}


@EACH
def test_an_answer_does_not_depend_on_its_neighbours(engine: str, tmp_path: Path) -> None:
    train(engine, tmp_path, config=config(steps=4))
    sampling = Sampling(6, 1.0, 3, (1,))
    together = load(engine).generate(tmp_path / "model", [*PROMPTS, [4], [5, 6]], sampling, lambda _: None)
    alone = load(engine).generate(tmp_path / "model", PROMPTS, sampling, lambda _: None)
    assert together[: len(PROMPTS)] == alone
    with pytest.raises(BadInput, match="Prompt 0 has no tokens"):
        load(engine).generate(tmp_path / "model", [[]], sampling, lambda _: None)


@EACH
def test_packed_rows_have_the_loss_of_the_same_rows_apart(engine: str, tmp_path: Path) -> None:
    chosen = config(steps=1, eval_every_steps=9)
    apart = train(engine, tmp_path / "apart", config=chosen, batches=CountingRows(evaluation=0))[1]
    packed = train(engine, tmp_path / "packed", config=chosen, batches=Packed(evaluation=0))[1]
    assert packed.losses() == pytest.approx(apart.losses(), abs=1e-6)


@EACH
def test_an_adapter_alone_is_trained_and_loads_in_peft(engine: str, tmp_path: Path) -> None:
    import peft

    train(engine, tmp_path / "base", config=config(steps=0))
    base = tmp_path / "base" / "model"
    before = (base / "model.safetensors").read_bytes()
    chosen = config(method="lora", lora={"rank": 2}, model_id=str(base))
    _, events = train(engine, tmp_path / "run", config=chosen, base=base)
    assert events.losses()[10] < events.losses()[1]
    state = checkpoints.load(checkpoints.listed(tmp_path / "run")[-1])
    assert all("lora_" in name for name, array in state.items() if array.ndim > 0), list(state)
    assert (base / "model.safetensors").read_bytes() == before
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(model, tmp_path / "run" / "model")
    prompt = torch.tensor([PROMPTS[1]])
    likeliest = adapted(prompt).logits[0, -1].argmax().item()
    answers = load(engine).generate(tmp_path / "run" / "model", PROMPTS[1:2], Sampling(1, 0.0, 0, ()), lambda _: None)
    assert (answers[0].tokens, max(PROMPTS[1]) < VOCABULARY) == ([likeliest], True)
