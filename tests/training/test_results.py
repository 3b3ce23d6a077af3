"""What a training leaves behind: a folder that transformers and PEFT load as it is, its card, merging, and parity."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from tests.training.make import run_folder, sums, tokenizer_folder
from tunix_rt.base.errors import BadInput, Conflict, Failed, NotFound
from tunix_rt.cli.main import root
from tunix_rt.training import adapter, card, child, events, parity
from tunix_rt.training.engines import lora, tensor_files, transformers_parity
from tunix_rt.training.folder import RunFolder

HOSTILE = "a`b|</script>\n---\nevil: yes"


def _trained(run: RunFolder) -> RunFolder:
    child.run(run, child.prepare(run, "cpu"), resume=False)
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that trained all parameters."""
    return _trained(run_folder(tmp_path_factory.mktemp("whole") / "run", steps=6, warmup_steps=2))


@pytest.fixture(scope="module")
def adapted(whole: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that trained an adapter of the first one's result."""
    choice = {"rank": 3, "alpha": 6, "targets": ["q_proj", "down_proj"]}
    path = tmp_path_factory.mktemp("adapted") / "run"
    more: dict[str, Any] = {"method": "lora", "lora": choice, "model_id": str(whole.model)}
    return _trained(run_folder(path, base=whole.model, steps=6, warmup_steps=2, learning_rate=0.02, **more))


@pytest.fixture
def copied(whole: RunFolder, adapted: RunFolder, tmp_path: Path) -> Path:
    """A copy of the adapter whose base is a copy too, to spoil."""
    shutil.copytree(whole.model, tmp_path / "base")
    folder = Path(shutil.copytree(adapted.model, tmp_path / "adapter"))
    config = json.loads((folder / lora.CONFIG).read_text())
    (folder / lora.CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": str(tmp_path / "base")}))
    return folder


def _parity(run: RunFolder) -> dict[str, Any]:
    return next(event for event in events.read(run.events) if event["event"] == "parity")


@pytest.mark.parametrize("kind", ["whole", "adapted"])
def test_every_training_ends_with_a_comparison_with_transformers(kind: str, request: pytest.FixtureRequest) -> None:
    found = _parity(request.getfixturevalue(kind))
    tokens, logits = found["tokens"], found["logits"]
    assert (tokens["checked"], tokens["source"], tokens["prompts"], tokens["differences"]) == (True, "eval", 10, 0)
    assert logits["checked"]
    assert logits["ok"]
    assert logits["largest_difference"] <= 1e-4
    assert logits["rows"] == 2


def test_a_merged_folder_gives_the_logits_of_the_adapter_in_peft(adapted: RunFolder, tmp_path: Path) -> None:
    done = adapter.merge(adapted.model, tmp_path / "merged")
    assert done.digest_checked
    assert done.updated == 2
    rows = [[3, 4, 5, 6], [7, 3]]
    peft = transformers_parity.transformers_logits(adapted.model, rows)
    for engine in (
        transformers_parity.transformers_logits(done.path, rows),
        transformers_parity.engine_logits("tunix", done.path, rows),
    ):
        for ours, theirs in zip(engine, peft, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert transformers_parity.Tokens(done.path).prompt("1+2?") == transformers_parity.Tokens(adapted.model).prompt(
        "1+2?"
    )


def test_a_merge_keeps_the_files_and_types_of_the_base(copied: Path, tmp_path: Path) -> None:
    import ml_dtypes

    base = tmp_path / "base"
    tensors = {name: array.astype(ml_dtypes.bfloat16) for name, array in _weights(base).items()}
    (base / "model.safetensors").unlink()
    shards = {f"model-0000{n + 1}-of-00002.safetensors": list(tensors)[n::2] for n in range(2)}
    for file, names in shards.items():
        with (base / file).open("wb") as written:
            shapes = {name: (tensors[name].shape, tensors[name].dtype) for name in names}
            tensor_files.write(written, shapes, (tensors[name] for name in names))
    index = {"metadata": {}, "weight_map": {name: file for file, names in shards.items() for name in names}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    (copied / card.NAME).unlink()  # another base than the card's
    merged = adapter.merge(copied, tmp_path / "merged").path
    for file, names in shards.items():
        found = tensor_files.read(merged / file)
        assert list(found) == names
        assert {array.dtype for array in found.values()} == {np.dtype(ml_dtypes.bfloat16)}
    update = lora.read_adapter(copied)
    name = "model.layers.0.mlp.down_proj"
    expected = (tensors[f"{name}.weight"].astype(np.float32) + update.update(name)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(lora.open_folder(merged).tensors[f"{name}.weight"], expected)
    np.testing.assert_array_equal(lora.open_folder(merged).tensors["model.norm.weight"], tensors["model.norm.weight"])


def _weights(folder: Path) -> dict[str, Any]:
    return {name: np.array(array) for name, array in tensor_files.read(folder / "model.safetensors").items()}


def test_a_merge_refuses_another_base(copied: Path, tmp_path: Path) -> None:
    config = tmp_path / "base" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(Conflict, match="is not the model that") as error:
        adapter.merge(copied, tmp_path / "merged")
    assert "--base" in str(error.value.hint)
    assert not (tmp_path / "merged").exists()


def test_a_merge_refuses_a_base_that_is_not_there(copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(BadInput, match="is not there") as error:
        adapter.merge(copied, tmp_path / "merged")
    assert error.value.hint


def test_a_base_that_was_moved_can_be_named(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "base").rename(tmp_path / "moved")
    assert adapter.merge(copied, tmp_path / "merged", tmp_path / "moved").digest_checked


def test_a_merge_refuses_an_unknown_kind_of_adapter(copied: Path, tmp_path: Path) -> None:
    config = json.loads((copied / lora.CONFIG).read_text())
    (copied / lora.CONFIG).write_text(json.dumps(config | {"peft_type": "VERA"}))
    with pytest.raises(BadInput) as error:
        adapter.merge(copied, tmp_path / "merged")
    assert [fault.pointer for fault in error.value.faults] == ["peft_type"]
    assert "PEFT" in str(error.value.hint)


def test_a_merge_refuses_tensors_that_do_not_fit(copied: Path, tmp_path: Path) -> None:
    tensors = {name: np.array(array)[:, :-1] for name, array in tensor_files.read(copied / lora.WEIGHTS).items()}
    with (copied / lora.WEIGHTS).open("wb") as file:
        tensor_files.write(file, {n: (a.shape, a.dtype) for n, a in tensors.items()}, tensors.values())
    with pytest.raises(BadInput, match="does not fit") as error:
        adapter.merge(copied, tmp_path / "merged")
    assert error.value.faults
    assert not list(tmp_path.glob(".*partial"))


def test_a_merge_replaces_nothing(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    with pytest.raises(Conflict, match="is there already"):
        adapter.merge(copied, tmp_path / "merged")
    with pytest.raises(BadInput, match="no adapter"):
        adapter.merge(tmp_path / "base", tmp_path / "new")
    with pytest.raises(NotFound):
        adapter.merge(tmp_path / "nothing", tmp_path / "new")


def test_the_commands_merge_and_check(adapted: RunFolder, tmp_path: Path) -> None:
    def call(*words: object) -> Any:
        return CliRunner().invoke(root, ["models", *map(str, words)])

    merged = tmp_path / "merged"
    done = call("merge", adapted.model, "--output", merged, "--json")
    assert json.loads(done.output)["digest_checked"] is True
    for where in ((adapted.path,), (adapted.model,), (merged, "--data", adapted.path / "data" / "eval.jsonl")):
        found = call("check", *where, "--prompts", 7, "--json")
        assert found.exit_code == 0, found
        document = json.loads(found.stdout)
        assert document["ok"]
        assert document["tokens"]["prompts"] == 7
    assert "0 differences" in call("check", adapted.path).stdout
    assert isinstance(call("check", merged).exception, BadInput)


def test_a_template_that_differs_is_found_and_shown(whole: RunFolder, tmp_path: Path) -> None:
    model = Path(shutil.copytree(whole.model, tmp_path / "model"))
    path = model / "tokenizer_config.json"
    path.write_text(path.read_text().replace("{{ '\\\\n' }}", "?"))
    sample = parity.of_run(whole)
    found = parity.check_tokens(model, sample)
    assert found["differences"] == 20
    first = found["first"]
    assert first["part"] == "prompt"
    assert first["tokens"]["training"] != first["tokens"]["generator"] == first["tokens"]["transformers"]
    with pytest.raises(Failed, match="20 differences in 10 prompts") as error:
        parity.refuse({"tokens": found}, model)
    assert str(first["tokens"]["training"]) in error.value.detail


def test_logits_over_the_tolerance_are_refused_with_their_size(whole: RunFolder) -> None:
    found = parity.check_logits(whole.model, "tunix", parity.of_run(whole))
    assert found["ok"]
    parity.refuse({"logits": found}, whole.model)
    with pytest.raises(Failed, match=r"differ by 0\.5"):
        parity.refuse({"logits": found | {"ok": False, "largest_difference": 0.5}}, whole.model)


def test_the_card_names_its_figures_with_what_they_are_over(whole: RunFolder, adapted: RunFolder) -> None:
    text = (whole.model / card.NAME).read_text()
    evaluation = [event for event in events.read(whole.events) if event["event"] == "eval"][-1]
    assert f"`{evaluation['loss']:.4f}` | `{evaluation['tokens']:,} supervised tokens`" in text
    assert "differ in 0" in text
    assert whole.provenance["tokenizer"]["digest"] in text
    front = yaml.safe_load((adapted.model / card.NAME).read_text().split("---\n")[1])
    assert (front["library_name"], front["datasets"]) == ("peft", ["sums-v1"])
    assert front["base_model_digest"] == adapted.provenance["base_model"]["digest"]


def test_hostile_names_stay_text_in_the_card(whole: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    path = tmp_path / "run" / "provenance.json"
    known = json.loads(path.read_text())
    known["dataset"]["dataset_key"] = HOSTILE
    path.write_text(json.dumps(known))
    text = card.text(RunFolder(tmp_path / "run"))
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["datasets"] == [HOSTILE]
    assert body.splitlines()[1] == "# A model trained from scratch on ``a`b|</script> --- evil: yes``"
    assert "\nevil: yes" not in body.replace("'a`b|</script>\n---\nevil: yes'", "")


def test_tokenizer_files_are_plain_enough_for_older_transformers(whole: RunFolder) -> None:
    found = json.loads((whole.model / "tokenizer_config.json").read_text())
    assert found["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert isinstance(found["chat_template"], str)
    assert all(isinstance(found[f"{name}_token"], str) for name in ("eos", "pad", "unk"))
    assert json.loads((whole.model / "config.json").read_text())["torch_dtype"] == "float32"


def test_five_hundred_held_out_prompts_are_compared_where_there_are_as_many(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", sums(0, 40))
    made = sums(40, 560)
    (run.path / "data" / "eval.jsonl").write_bytes(b"".join(made))
    tokenizer_folder(run.tokenizer, *map(json.loads, [*sums(0, 40), *made]))
    found = parity.check_tokens(run.tokenizer, parity.of_run(run))
    assert (found["prompts"], found["rows"], found["left_out"], found["differences"]) == (500, 500, 0, 0)


def test_what_could_not_be_compared_says_why(whole: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_LARGEST_AT_THE_END", 1)
    large = parity.at_the_end(whole)
    assert large["tokens"]["checked"]
    assert "bytes of weights: tunix-rt models check" in large["logits"]["reason"]
    monkeypatch.setitem(sys.modules, "transformers", None)
    without = parity.at_the_end(whole)
    for part in ("tokens", "logits"):
        assert without[part]["checked"] is False
        assert "transformers" in without[part]["reason"]
    parity.refuse(without, whole.model)
    assert "Token ids were not checked: " in card.text(whole, without)
