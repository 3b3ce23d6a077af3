"""The training config: what it accepts, what it refuses and how it says so."""

from pathlib import Path

import pytest

from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.training import config


def faults(text: str, *overrides: str) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        config.resolve(text, "config.yaml", overrides)
    return {fault.pointer: fault.detail for fault in caught.value.faults}


def test_an_empty_config_is_a_small_model_from_scratch() -> None:
    found = config.resolve("", "config.yaml")
    assert found.model_id == "scratch"
    assert found.total_steps(micro_batches=30) == 600


def test_a_misspelt_key_names_the_nearest_one() -> None:
    found = faults("learning_rat: 0.1\ndata: {max_lenght: 3}")
    assert "Did you mean 'learning_rate'?" in found["learning_rat"]
    assert "Did you mean 'max_length'?" in found["data.max_lenght"]


def test_every_wrong_value_is_named_at_once() -> None:
    assert faults("learning_rate: -1\nbatch_size: 0\nsteps: x").keys() == {"learning_rate", "batch_size", "steps"}


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_nan_and_infinity_are_refused(value: str) -> None:
    assert "learning_rate" in faults(f"learning_rate: {value}")


def test_overrides_reach_into_sections() -> None:
    found = config.resolve("batch_size: 8", "c", ("data.max_length=64", "model.layers=3", "batch_size=16"))
    assert (found.data.max_length, found.model.layers, found.batch_size) == (64, 3, 16)


def test_an_override_of_an_unknown_key_is_refused() -> None:
    assert "steps" in faults("", "stepz=3")["stepz"]


def test_an_override_without_equals_is_refused() -> None:
    with pytest.raises(BadInput, match="not key=value"):
        config.resolve("", "c", ("steps",))


def test_steps_and_epochs_exclude_each_other() -> None:
    assert "exclude each other" in str(faults("steps: 3\nepochs: 1"))


def test_epochs_become_steps() -> None:
    found = config.resolve("epochs: 3\nbatch_size: 10\naccumulation: 2", "c")
    assert found.total_steps(micro_batches=20) == 30


def test_wrong_yaml_names_its_line() -> None:
    with pytest.raises(BadInput, match=r"config\.yaml:2: not YAML"):
        config.resolve("a: 1\n  b: [", "config.yaml")


def test_a_list_is_not_a_config() -> None:
    with pytest.raises(BadInput, match="mapping"):
        config.resolve("- a\n- b", "config.yaml")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        config.load(tmp_path / "none.yaml")


def test_wrong_utf8_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"seed: 1 \xff")
    with pytest.raises(BadInput, match="byte 8"):
        config.load(tmp_path / "c.yaml")


def test_what_is_written_reads_back_the_same() -> None:
    found = config.resolve("seed: 7\ndata: {template: answer}\nclip_norm: null", "c")
    assert config.resolve(config.dump(found), "c") == found


def test_an_odd_head_size_is_refused() -> None:
    assert "even" in str(faults("model: {width: 60, heads: 4}"))
