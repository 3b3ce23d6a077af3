"""What a training does around its steps: events, stopping, resuming, checkpoints, results."""

import dataclasses
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.make_engine import VOCABULARY, CountingRows, Events, config, job, stop_after, train
from tunix_rt.base.errors import BadInput, Conflict, Failed
from tunix_rt.training.engines import checkpoints as checkpoints
from tunix_rt.training.engines import load, tensor_files


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Events, CountingRows]:
    """A training of 10 steps, by 2 micro-batches each, from start to end."""
    folder, rows = tmp_path_factory.mktemp("undisturbed"), CountingRows(accumulation=2)
    outcome, events = train(folder, config=config(accumulation=2, warmup_steps=20), batches=rows)
    assert (outcome.reason, outcome.step) == ("completed", 10)
    return folder, events, rows


@pytest.fixture(scope="module")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Events]:
    folder = tmp_path_factory.mktemp("stopped")
    outcome, events = train(folder, config=config(accumulation=2, warmup_steps=20), stopping=stop_after(6))
    assert (outcome.reason, outcome.step) == ("stopped", 6)
    return folder, events


@pytest.fixture
def stopped(tmp_path: Path, _stopped: tuple[Path, Events]) -> tuple[Path, Events]:
    """The same training, asked to stop after 6 steps: it has checkpoints of steps 4 and 6."""
    shutil.copytree(_stopped[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, _stopped[1]


def test_every_step_is_told_in_order_with_plain_numbers(undisturbed: tuple[Path, Events, CountingRows]) -> None:
    _, events, rows = undisturbed
    steps = events.of("step")
    assert [step["step"] for step in steps] == list(range(1, 11))
    for step in steps:
        fields = ("epoch", "loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds")
        assert all(type(step[name]) is float and math.isfinite(step[name]) for name in fields)
        assert step["tokens"] == sum(int(rows.training(step["step"], micro).lengths.sum()) for micro in range(2))
        assert step["learning_rate"] == pytest.approx(
            0.02 * step["step"] / 20
        )  # the warm-up is longer than the training
        assert step["epoch"] == step["step"] / 10


def test_the_evaluation_loss_is_told_when_due_and_at_the_end(undisturbed: tuple[Path, Events, CountingRows]) -> None:
    _, events, rows = undisturbed
    assert [told["step"] for told in events.of("eval")] == [4, 8, 10]
    supervised = sum(int(batch.supervised.sum()) for batch in rows.evaluation)
    assert all(told["tokens"] == supervised for told in events.of("eval"))


def test_events_of_a_step_come_in_the_order_that_a_resumed_run_needs(
    undisturbed: tuple[Path, Events, CountingRows],
) -> None:
    _, events, _ = undisturbed
    order = [(kind, fields["step"]) for kind, fields in events.all]
    assert order[3:6] == [("step", 4), ("eval", 4), ("checkpoint", 4)]
    assert order[-3:] == [("step", 10), ("eval", 10), ("checkpoint", 10)]


def test_only_the_newest_checkpoints_stay(undisturbed: tuple[Path, Events, CountingRows]) -> None:
    folder, events, _ = undisturbed
    assert [told["path"] for told in events.of("checkpoint")] == [
        "checkpoints/step-00000004",
        "checkpoints/step-00000008",
        "checkpoints/step-00000010",
    ]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-00000008", "step-00000010"]


def test_a_stopped_training_saves_what_it_has_and_writes_no_model(stopped: tuple[Path, Events]) -> None:
    folder, events = stopped
    assert [told["step"] for told in events.of("step")] == [1, 2, 3, 4, 5, 6]
    assert events.of("checkpoint")[-1] == {"step": 6, "path": "checkpoints/step-00000006"}
    assert not (folder / "model").exists()


def test_a_resumed_training_ends_bit_for_bit_as_the_undisturbed_one(
    undisturbed: tuple[Path, Events, CountingRows], stopped: tuple[Path, Events]
) -> None:
    rows = CountingRows(accumulation=2)
    outcome, events = train(
        stopped[0],
        config=config(accumulation=2, warmup_steps=20),
        batches=rows,
        resume_from=stopped[0] / "checkpoints" / "step-00000006",
    )
    assert outcome.reason == "completed"
    assert rows.asked[0] == (7, 0)  # seeks, replays nothing
    told = undisturbed[1].losses()
    assert events.losses() == {step: told[step] for step in (7, 8, 9, 10)}
    assert events.of("eval") == undisturbed[1].of("eval")[1:]
    assert (stopped[0] / "model" / "model.safetensors").read_bytes() == (
        undisturbed[0] / "model" / "model.safetensors"
    ).read_bytes()


def test_a_wish_to_stop_before_the_first_step_trains_and_saves_nothing(tmp_path: Path) -> None:
    for asked, wish in enumerate((lambda: True, stop_after(0))):  # before the model is made, and after
        outcome, events = train(tmp_path / str(asked), stopping=wish)
        assert (outcome.reason, outcome.step, events.all) == ("stopped", 0, [])
        assert not (tmp_path / str(asked) / "checkpoints").exists()


@pytest.mark.parametrize(("one_cpu", "error"), [(True, MemoryError), (False, Failed)])
def test_memory_that_runs_out_is_told_as_the_machines_or_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_cpu: bool, error: type[Exception]
) -> None:
    def runs_out(_: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")

    monkeypatch.setattr("tunix_rt.training.engines.jax_training.train", runs_out)
    monkeypatch.setattr("tunix_rt.training.engines.jax_devices.is_one_cpu", lambda: one_cpu)
    with pytest.raises(error, match="17179869184"):
        train(tmp_path)


def test_resuming_a_finished_training_writes_the_model_again(undisturbed: tuple[Path, Events, CountingRows]) -> None:
    folder, _, _ = undisturbed
    before = (folder / "model" / "model.safetensors").read_bytes()
    outcome, events = train(
        folder,
        config=config(accumulation=2, warmup_steps=20),
        resume_from=folder / "checkpoints" / "step-00000010",
    )
    assert (outcome.reason, outcome.step, events.all) == ("completed", 10, [])
    assert (folder / "model" / "model.safetensors").read_bytes() == before


def test_the_result_says_what_it_is(undisturbed: tuple[Path, Events, CountingRows]) -> None:
    model = undisturbed[0] / "model"
    written = json.loads((model / "config.json").read_text())
    assert written["architectures"] == ["LlamaForCausalLM"]
    assert (written["eos_token_id"], written["pad_token_id"], "bos_token_id" in written) == (1, 0, False)
    assert json.loads((model / "generation_config.json").read_text())["eos_token_id"] == 1
    assert (model / "tokenizer.json").exists()
    assert (model / "tokenizer_config.json").exists()


def test_the_training_learns(tmp_path: Path) -> None:
    losses = train(tmp_path, config=config(steps=60, checkpoint_every_steps=60))[1].losses()
    assert losses[1] == pytest.approx(math.log(VOCABULARY), abs=0.5)
    assert losses[60] < losses[1] / 2


def test_the_step_is_compiled_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        train(tmp_path, stopping=stop_after(5))
        train(tmp_path, resume_from=tmp_path / "checkpoints" / "step-00000005")
    compiled = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling ")]
    assert sum("training_step" in message for message in compiled) == 2  # one a run, for 5 steps each with evaluations
    assert sum("_eval_step" in message for message in compiled) == 2


def test_no_steps_give_the_untrained_start(tmp_path: Path) -> None:
    outcome, events = train(tmp_path, config=config(steps=0))
    assert (outcome.reason, outcome.step, events.all) == ("completed", 0, [])
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    kernels = [tensor for tensor in tensors.values() if tensor.ndim == 2]
    scaled = np.concatenate([(kernel * (3 * kernel.shape[1]) ** 0.5).ravel() for kernel in kernels])
    assert scaled.std() == pytest.approx(1, rel=0.05)
    assert all((tensor == 1).all() for tensor in tensors.values() if tensor.ndim == 1)


def test_the_seed_decides_the_start(tmp_path: Path) -> None:
    for seed in (1, 2):
        train(tmp_path / str(seed), config=config(steps=0, seed=seed))
    one, two = (load_file(tmp_path / str(seed) / "model" / "model.safetensors") for seed in (1, 2))
    assert not np.array_equal(one["model.embed_tokens.weight"], two["model.embed_tokens.weight"])


def test_a_training_goes_on_from_a_model_folder(tmp_path: Path, undisturbed: tuple[Path, Events, CountingRows]) -> None:
    folder, events, _ = undisturbed
    _, more = train(tmp_path, base=folder / "model", config=config(steps=1))
    assert more.losses()[1] < events.losses()[1] - 0.1  # the first loss is that of trained weights


def test_a_tokenizer_larger_than_the_embedding_is_refused(
    tmp_path: Path, undisturbed: tuple[Path, Events, CountingRows]
) -> None:
    with pytest.raises(BadInput, match=r"has 33 entries, but .* embeds only 32"):
        train(tmp_path, base=undisturbed[0] / "model", vocabulary=33)


def test_rows_longer_than_the_models_positions_are_refused(
    tmp_path: Path, undisturbed: tuple[Path, Events, CountingRows]
) -> None:
    with pytest.raises(BadInput, match="Rows of 2049 tokens do not fit the 2048 positions"):
        train(tmp_path, base=undisturbed[0] / "model", batches=CountingRows(width=2049))


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_step(tmp_path: Path) -> None:
    class Broken(CountingRows):
        def training(self, step: int, micro: int) -> Any:
            batch = super().training(step, micro)
            return dataclasses.replace(batch, weight=float("nan")) if step == 6 else batch

    events = Events()
    with pytest.raises(Failed, match=r"^Step 6: the loss is nan"):
        load("tunix").train(job(tmp_path, batches=Broken(), emit=events))
    assert math.isnan(events.losses()[6])
    assert not (tmp_path / "model").exists()
    assert [path.name for path in checkpoints.listed(tmp_path)] == ["step-00000004"]


def test_a_checkpoint_of_another_training_is_refused_with_each_difference(stopped: tuple[Path, Events]) -> None:
    path = stopped[0] / "checkpoints" / "step-00000006"
    with pytest.raises(Conflict) as caught:
        train(
            stopped[0],
            config=config(accumulation=2),
            resume_from=path,
            fingerprint={"seed": 0, "data": {"train": "sha256:2"}, "jax": "9"},
        )
    assert [fault.pointer for fault in caught.value.faults] == ["data.train", "jax"]
    assert "'sha256:1'" in caught.value.faults[0].detail


def test_a_checkpoint_of_another_machine_is_resumed_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, stopping=stop_after(2))
    monkeypatch.setattr("tunix_rt.training.engines.jax_devices.threads", lambda: 99)
    events = train(tmp_path, config=config(steps=3), resume_from=checkpoints.listed(tmp_path)[-1])[1]
    assert events.of("warning")[0]["changed"]["threads"][1] == 99


@pytest.mark.parametrize("name", ["state.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("place", ["first", "middle", "last", "cut", "gone"])
def test_a_damaged_checkpoint_is_refused_with_the_one_before_it(
    stopped: tuple[Path, Events], name: str, place: str
) -> None:
    path = stopped[0] / "checkpoints" / "step-00000006"
    data = bytearray((path / name).read_bytes())
    if place == "gone":
        (path / name).unlink()
    else:
        if place == "cut":
            del data[-1]
        else:
            data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 1
        (path / name).write_bytes(data)
    with pytest.raises(BadInput, match=f"damaged: {name} ") as caught:
        checkpoints.check(path, {"seed": 0, "data": {"train": "sha256:1"}})
    assert "step-00000004" in (caught.value.hint or "")


def test_what_a_killed_run_left_half_written_is_removed_and_never_listed(tmp_path: Path) -> None:
    torn = tmp_path / "checkpoints" / ".step-00000003.0a1b2c3d.partial"
    torn.mkdir(parents=True)
    (torn / "state.safetensors").write_bytes(b"half")
    (tmp_path / ".model.0a1b2c3d.partial").mkdir()
    train(tmp_path, config=config(steps=1))
    assert not list(tmp_path.glob(".*"))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_batch_in_parts_gives_the_step_of_the_whole(tmp_path: Path) -> None:
    class Parts(CountingRows):
        """The 8 rows of one big batch, in two micro-batches of unequal numbers of supervised tokens."""

        def training(self, step: int, micro: int) -> Any:
            whole = CountingRows(batch_size=8).training(step, 0)
            part = slice(4 * micro, 4 * micro + 4)
            return dataclasses.replace(
                whole,
                tokens=whole.tokens[part],
                supervised=whole.supervised[part],
                lengths=whole.lengths[part],
                weight=whole.weight / 2,
            )

    settings = {"steps": 3, "warmup_steps": 0, "eval_every_steps": 100}
    whole = train(tmp_path / "whole", config=config(**settings), batches=CountingRows(batch_size=8, evaluation=0))[1]
    parts = train(tmp_path / "parts", config=config(**settings, accumulation=2), batches=Parts(evaluation=0))[1]
    for one, two in zip(whole.of("step"), parts.of("step"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-5)
    one_, two_ = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert all(np.allclose(one_[name], two_[name], atol=1e-5) for name in one_)


def test_no_evaluation_split_means_no_evaluation(tmp_path: Path) -> None:
    events = train(tmp_path, config=config(steps=4), batches=CountingRows(evaluation=0))[1]
    assert events.of("eval") == []


def test_bfloat16_trains_and_writes_bfloat16(tmp_path: Path) -> None:
    losses = train(tmp_path, config=config(precision="bfloat16", steps=30, checkpoint_every_steps=30))[1].losses()
    assert losses[30] < losses[1] - 0.5
    assert {str(array.dtype) for array in tensor_files.read(tmp_path / "model" / "model.safetensors").values()} == {
        "bfloat16"
    }


def test_parameters_are_counted_without_being_made() -> None:
    engine = load("tunix")
    d = config().model
    layer = 2 * d.width + d.width * 4 * (d.heads + d.kv_heads) * 2 + 3 * d.width * d.hidden
    assert engine.parameters(config(), VOCABULARY, None) == VOCABULARY * d.width + d.width + d.layers * layer
    huge = config(model={"width": 8192, "hidden": 28672, "layers": 80, "heads": 64, "kv_heads": 8})
    assert engine.parameters(huge, 128_256, None) > 60e9
