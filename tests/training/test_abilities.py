"""What an engine can do is a table, and what it cannot do is refused before anything is loaded."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest

from tunix_rt.base.errors import BadInput
from tunix_rt.training.config import ModelDimensions, TrainingConfig
from tunix_rt.training.engines import ENGINES, abilities, architecture


def test_the_table_holds_every_engine_and_only_values_that_a_config_may_have() -> None:
    assert tuple(abilities.CAPABILITIES) == ENGINES
    for ability in abilities.CAPABILITIES.values():
        assert set(ability.methods) <= set(get_args(TrainingConfig.model_fields["method"].annotation))
        assert set(ability.batchings) <= set(get_args(TrainingConfig.model_fields["batching"].annotation))
        assert set(ability.families) <= set(get_args(ModelDimensions.model_fields["family"].annotation))


def test_what_an_engine_cannot_do_is_refused_with_the_one_that_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = TrainingConfig.model_validate({"engine": "torch"})
    abilities.refuse(config, "cpu")
    with pytest.raises(BadInput) as caught:
        abilities.refuse(config, "tpu")
    assert [fault.pointer for fault in caught.value.faults] == ["device"]
    assert caught.value.hint == "Set engine: tunix."

    made = architecture.from_scratch(ModelDimensions(family="gemma2"), 32, 24)
    (tmp_path / "config.json").write_text(json.dumps(architecture.to_json(made)))
    abilities.refuse(config, "auto", tmp_path)
    less = dataclasses.replace(abilities.CAPABILITIES["torch"], batchings=("padded",), families=("llama",))
    monkeypatch.setitem(abilities.CAPABILITIES, "torch", less)
    with pytest.raises(BadInput) as caught:
        abilities.refuse(config, "cpu", tmp_path)
    assert [fault.pointer for fault in caught.value.faults] == ["batching", "model_id"]


def test_what_no_engine_can_do_is_refused_without_a_promise() -> None:
    with pytest.raises(BadInput) as caught:
        abilities.refuse(TrainingConfig(), "abacus")
    assert caught.value.hint == "Change what is named."
