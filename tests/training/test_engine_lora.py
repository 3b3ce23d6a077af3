"""Adapters: PEFT reads ours and we read its, nothing else is trained, and what does not fit is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.training.make_engine import VOCABULARY, Events, config, job, stop_after, train
from tunix_rt.base.errors import BadInput
from tunix_rt.training.engines import jax_folder, jax_generation, jax_loss, lora

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (3, 20)).astype(np.int32)
TARGETS = ["q_proj", "v_proj", "down_proj"]


def _config(base: Path, **changes: Any) -> Any:
    choice = {"rank": 4, "alpha": 6, "targets": TARGETS}
    return config(method="lora", lora=choice, model_id=str(base), eval_every_steps=50, **changes)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    train(folder, config=config(steps=0, model={"family": "qwen3", "layers": 2}))
    return folder / "model"


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Events]:
    folder = tmp_path_factory.mktemp("adapter")
    outcome, events = train(folder, base=base, config=_config(base))
    assert outcome.reason == "completed"
    return folder, events


@pytest.fixture(scope="module")
def trained(run: tuple[Path, Events]) -> Path:
    """A run of 10 steps on the base."""
    return run[0]


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    """A copy, to spoil."""
    return Path(shutil.copytree(trained / "model", tmp_path / "copy"))


def _our_logits(folder: Path) -> NDArray[Any]:
    return np.asarray(jax_generation.load(folder)(TOKENS))


def _peft_logits(base: Path, adapter: Path) -> NDArray[Any]:
    import peft  # slow to load, as torch and transformers are
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        logits: NDArray[Any] = model(torch.from_numpy(TOKENS).long()).logits.numpy()
    return logits


def test_peft_gives_our_logits_by_our_adapter(base: Path, trained: Path) -> None:
    ours = _our_logits(trained / "model")
    assert np.abs(ours - _our_logits(base)).max() > 0.05
    np.testing.assert_allclose(ours, _peft_logits(base, trained / "model"), atol=1e-4)


def test_we_give_the_logits_of_an_adapter_that_peft_made(base: Path, tmp_path: Path) -> None:
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    made = peft.get_peft_model(
        model,
        peft.LoraConfig(
            r=4, lora_alpha=3, use_rslora=True, target_modules=["k_proj", "up_proj"], init_lora_weights=False
        ),
    )
    made.save_pretrained(tmp_path)
    np.testing.assert_allclose(_our_logits(tmp_path), _peft_logits(base, tmp_path), atol=1e-4)


def test_an_adapter_holds_its_two_matrices_for_each_target_and_its_tokenizer(base: Path, trained: Path) -> None:
    tensors = load_file(trained / "model" / "adapter_model.safetensors")
    modules = {f"self_attn.{name}" for name in TARGETS[:2]} | {"mlp.down_proj"}
    assert tensors.keys() == {
        f"base_model.model.model.layers.{layer}.{module}.lora_{part}.weight"
        for layer in range(2)
        for module in modules
        for part in "AB"
    }
    content = json.loads((trained / "model" / "adapter_config.json").read_text())
    assert content["base_model_name_or_path"] == str(base)
    assert (content["r"], content["lora_alpha"], content["target_modules"]) == (4, 6, sorted(TARGETS))
    assert (trained / "model" / "tokenizer.json").is_file()
    assert not (trained / "model" / "config.json").exists()


def test_a_checkpoint_holds_the_adapter_and_its_optimizer_alone(trained: Path) -> None:
    newest = sorted((trained / "checkpoints").glob("step-*"))[-1]
    names = load_file(newest / "state.safetensors").keys()
    assert {name.rpartition(".")[2] for name in names if name.startswith("parameters.")} == {"lora_a", "lora_b"}
    assert not [name for name in names if "kernel" in name]


def test_a_resumed_adapter_is_that_of_the_undisturbed_training(base: Path, trained: Path, tmp_path: Path) -> None:
    train(tmp_path, base=base, config=_config(base), stopping=stop_after(6))
    train(tmp_path, base=base, config=_config(base), resume_from=tmp_path / "checkpoints" / "step-00000006")
    resumed, undisturbed = (load_file(run / "model" / "adapter_model.safetensors") for run in (tmp_path, trained))
    assert all(np.array_equal(resumed[name], array) for name, array in undisturbed.items())


def test_an_untrained_adapter_changes_nothing(base: Path, tmp_path: Path) -> None:
    train(tmp_path, base=base, config=_config(base, steps=0))
    np.testing.assert_array_equal(_our_logits(tmp_path / "model"), _our_logits(base))


def test_rows_in_pieces_have_the_losses_and_gradients_of_whole_batches(
    base: Path, run: tuple[Path, Events], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax_loss, "ACTIVATION_BYTES", 1)
    _, events = train(tmp_path, base=base, config=_config(base))
    for pieces, whole in zip(events.of("step"), run[1].of("step"), strict=True):
        assert pieces["loss"] == pytest.approx(whole["loss"], abs=1e-4)
        assert pieces["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-3)


def test_in_bfloat16_the_base_lies_in_it_and_the_adapter_in_float32(base: Path, tmp_path: Path) -> None:
    model, _ = jax_folder.first(job(tmp_path, base=base, config=_config(base, precision="bfloat16")))
    layer = model.layers[0].self_attn.q_proj
    assert (layer.kernel[...].dtype, layer.lora_a[...].dtype) == ("bfloat16", "float32")


def test_two_devices_train_the_adapter_as_one_does(base: Path, run: tuple[Path, Events], tmp_path: Path) -> None:
    script = (
        "import json, sys; from pathlib import Path; from tests.training.make_engine import train; "
        "from tests.training.test_engine_lora import _config; folder, base = map(Path, sys.argv[1:]); "
        "print(json.dumps(train(folder, base=base, config=_config(base))[1].losses()))"
    )
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    }
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(base)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    losses = {int(step): loss for step, loss in json.loads(told.stdout.splitlines()[-1]).items()}
    assert losses == pytest.approx(run[1].losses(), abs=1e-4)


def test_the_start_is_that_of_peft_in_kind(base: Path) -> None:
    choice = config(lora={"rank": 16}).lora
    made = lora.start(lora.open_folder(base).dimensions, choice, 0)
    a = made["base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"]
    assert a.shape == (16, 32)
    assert 0.9 < np.abs(a).max() * 32**0.5 <= 1
    assert not made["base_model.model.model.layers.0.mlp.down_proj.lora_B.weight"].any()


def test_a_model_from_scratch_cannot_be_adapted() -> None:
    with pytest.raises(ValueError, match="method lora adapts a model that is there"):
        config(method="lora")


def test_an_adapter_of_another_kind_is_refused_by_what_is_different(adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dora": True, "bias": "all"}))
    with pytest.raises(BadInput) as caught:
        lora.open_folder(adapter)
    assert {fault.pointer for fault in caught.value.faults} == {"use_dora", "bias"}


def test_an_adapter_without_its_base_says_where_it_was_looked_for(adapter: Path, base: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "/nowhere"}))
    with pytest.raises(BadInput, match="adapts the model /nowhere, which is not there"):
        lora.open_folder(adapter)
    assert lora.open_folder(adapter, base).base == base


def test_tensors_that_do_not_fit_the_base_are_named(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    first = "base_model.model.model.layers.0.self_attn.q_proj"
    del tensors[f"{first}.lora_B.weight"]
    tensors["base_model.model.lm_head.lora_A.weight"] = np.zeros((4, 16), np.float32)
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(BadInput) as caught:
        lora.open_folder(adapter)
    assert {fault.pointer for fault in caught.value.faults} == {
        f"{first}.lora_B.weight",
        "base_model.model.lm_head.lora_A.weight",
    }
