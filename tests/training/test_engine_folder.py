"""Model folders in and out: exact, and refused with a name for what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.training.make_engine import VOCABULARY, config, job, train
from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.training.engines import architecture, jax_generation, load, model_folder, tensor_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    train(folder, config=config(steps=0, model={"family": "qwen3", "tie_embeddings": False}))
    return folder / "model"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of a model folder, to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def _change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_goes_in_and_out_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", base=folder, config=config(steps=0))
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_settings_that_we_do_not_use_survive(folder: Path, tmp_path: Path) -> None:
    _change_config(folder, max_window_layers=3, initializer_range=0.5)
    train(tmp_path / "run", base=folder, config=config(steps=0))
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["initializer_range"] == 0.5


def test_a_folder_in_shards_is_read_whole(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in files.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in files.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    train(tmp_path / "run", base=folder, config=config(steps=0))
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert all(np.array_equal(tensors[name], after[name]) for name in tensors)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadInput, match=r"lacks model-00002-of-00002\.safetensors"):
        jax_generation.load(folder)


def test_a_model_keeps_every_stop_token_of_its_tokenizer(tmp_path: Path) -> None:
    made = job(tmp_path, config=config(steps=0))
    (made.tokenizer / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    load("tunix").train(made)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "model" / name).read_text())["eos_token_id"] == [1, 7]


def test_a_large_model_is_written_in_shards_that_transformers_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers  # slow to load

    monkeypatch.setattr(model_folder, "_SHARD_BYTES", 3000)
    train(tmp_path / "run", base=folder, config=config(steps=0))
    model = tmp_path / "run" / "model"
    assert len(sorted(model.glob("model-0000?-of-0000?.safetensors"))) > 2
    assert not (model / "model.safetensors").exists()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model).state_dict()
    before = load_file(folder / "model.safetensors")
    assert all(np.array_equal(loaded[name].numpy(), array) for name, array in before.items())


def test_tensors_that_do_not_fit_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    tensors["model.layers.0.self_attn.q_proj.bias"] = np.zeros(16, np.float32)
    tensors["lm_head.weight"] = np.zeros((VOCABULARY, 15), np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(BadInput) as caught:
        jax_generation.load(folder)
    faults = {fault.pointer: fault.detail for fault in caught.value.faults}
    assert faults == {
        "model.norm.weight": "missing; expected shape (16,)",
        "model.layers.0.self_attn.q_proj.bias": "unexpected; config.json has no place for it",
        "lm_head.weight": f"shape ({VOCABULARY}, 15); config.json says ({VOCABULARY}, 16)",
    }


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"no weights: neither model\.safetensors nor .* only pytorch_model\.bin"):
        jax_generation.load(folder)


def test_a_folder_without_a_config_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        jax_generation.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match=r"has no config\.json"):
        jax_generation.load(folder)
    with pytest.raises(NotFound, match="There is no model folder"):
        jax_generation.load(folder / "nowhere")


def test_an_unknown_family_is_refused_with_those_that_we_have(folder: Path) -> None:
    _change_config(folder, model_type="mamba")
    with pytest.raises(
        BadInput, match=r"model_type 'mamba' is not supported\..* We have: gemma2, gemma3_text, llama, qwen2"
    ):
        jax_generation.load(folder)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_scaling.factor"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"num_attention_heads": "4"}, "num_attention_heads"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
    ],
)
def test_what_we_would_compute_wrongly_is_refused(folder: Path, changes: dict[str, Any], place: str) -> None:
    _change_config(folder, **changes)
    with pytest.raises(BadInput) as caught:
        jax_generation.load(folder)
    assert place in [fault.pointer for fault in caught.value.faults]


GEMMA3 = architecture.to_json(
    architecture.from_scratch(config(model={"family": "gemma3_text", "layers": 7}).model, VOCABULARY, 24)
)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"hidden_activation": "gelu"}, "hidden_activation"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ({"sliding_window": None}, "sliding_window"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": ["linear_attention"] * 7}, "layer_types"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": None, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_scaling"),
        ({"rope_parameters": {"full_attention": {"rope_type": "linear"}}}, "rope_scaling.factor"),
    ],
)
def test_what_we_would_compute_wrongly_of_gemma_is_refused(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(BadInput) as caught:
        architecture.from_json(GEMMA3 | changes, Path("folder"))
    assert place in [fault.pointer for fault in caught.value.faults]


@pytest.mark.parametrize("family", architecture.FAMILIES)
def test_dimensions_go_through_json_unchanged(family: str) -> None:
    made = architecture.from_scratch(config(model={"family": family, "layers": 7}).model, VOCABULARY, 24)
    assert architecture.from_json(architecture.to_json(made), Path("folder")) == made


def test_published_configs_of_gemma_are_read_in_the_words_of_transformers_4() -> None:
    old = {key: value for key, value in GEMMA3.items() if key not in ("rope_parameters", "layer_types")}
    old |= {"rope_theta": 1e6, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}
    read = architecture.from_json(old, Path("folder"))
    assert (read.rope_theta, read.rope_factor, read.local_rope_theta) == (1e6, 8.0, 10_000.0)
    assert read.sliding == (True,) * 5 + (False, True)


def test_rope_theta_is_read_from_old_and_new_configs(folder: Path) -> None:
    _change_config(folder, rope_parameters=None, rope_theta=123.0)
    assert architecture.from_json(architecture.read_json(folder), folder).rope_theta == 123.0
    _change_config(folder, rope_parameters={"rope_theta": 456.0, "rope_type": "default"})
    assert architecture.from_json(architecture.read_json(folder), folder).rope_theta == 456.0


def test_a_tied_head_in_the_file_is_read_only_if_it_is_the_embedding(folder: Path) -> None:
    _change_config(folder, tie_word_embeddings=True)
    with pytest.raises(BadInput) as caught:
        jax_generation.load(folder)
    assert [fault.pointer for fault in caught.value.faults] == ["lm_head.weight"]
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, folder / "model.safetensors")
    jax_generation.load(folder)


@pytest.mark.parametrize("spoil", ["cut", "empty", "header", "length"])
def test_a_damaged_weight_file_is_refused(folder: Path, spoil: str) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    spoilt = {"cut": data[:-1], "empty": b"", "header": data[:8] + b"x" + data[9:], "length": b"\xff" * 8 + data[8:]}
    path.write_bytes(spoilt[spoil])
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        jax_generation.load(folder)


def test_our_safetensors_files_are_those_of_the_library(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        "a": random.standard_normal((3, 5), np.float32),
        "b": np.arange(7, dtype=np.int32),
        "scalar": np.array(3, np.uint32),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float64),
        "transposed": np.arange(6.0).reshape(2, 3).T,
    }
    shapes = {name: (array.shape, array.dtype) for name, array in tensors.items()}
    with (tmp_path / "ours").open("wb") as file:
        tensor_files.write(file, shapes, tensors.values())
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, tmp_path / "theirs")
    for path in ("ours", "theirs"):
        read, library = tensor_files.read(tmp_path / path), load_file(tmp_path / path)
        for name, array in tensors.items():
            for found in (read[name], library[name]):
                assert found.dtype == array.dtype
                np.testing.assert_array_equal(found.reshape(array.shape), array)
    with safe_open(tmp_path / "ours", "numpy") as opened:  # type: ignore[no-untyped-call]  # it ships no types
        assert opened.metadata() == {"format": "pt"}


def test_bfloat16_goes_through_a_file_unchanged(tmp_path: Path) -> None:
    array = np.arange(5).astype(ml_dtypes.bfloat16)
    with (tmp_path / "file").open("wb") as file:
        tensor_files.write(file, {"a": (array.shape, array.dtype)}, [array])
    assert np.array_equal(tensor_files.read(tmp_path / "file")["a"], array)
