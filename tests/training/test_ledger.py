"""The ledger's sums are identities, and its refusals name the rows."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.make import tokenizer_folder, trace
from tunix_rt.base.errors import BadInput
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.config import DataChoice, TrainingConfig
from tunix_rt.training.ledger import Ledger, rows
from tunix_rt.training.tokenizer import Folder

TEXT = st.text(alphabet="0123456789+=? \n<>eospad§", min_size=1, max_size=30)
TRACES = st.lists(
    st.builds(trace, prompt=TEXT, steps=st.lists(TEXT, min_size=1, max_size=4).map(tuple), answer=TEXT), max_size=12
)
CHOICES = st.builds(
    DataChoice,
    template=st.sampled_from(["reasoning", "answer"]),
    max_length=st.none() | st.integers(8, 120),
    overlong=st.sampled_from(["raise", "truncate", "drop"]),
)

BUCKETED, PACKED, BY_TOKENS = (
    TrainingConfig.model_validate(each)
    for each in ({"batch_size": 3}, {"batching": "packed", "batch_size": 2}, {"batch_tokens": 200})
)


@cache
def known() -> Folder:
    return tokenizer_folder(Path(mkdtemp()), trace(prompt="0123456789+=? \n<>eospad"))


@settings(max_examples=150, deadline=None)
@given(TRACES, CHOICES)
def test_every_row_and_every_token_is_accounted_for(traces: list[dict[str, Any]], choice: DataChoice) -> None:
    folder = known()
    ledger = Ledger(choice, folder.digest)
    kept = list(rows(traces, folder, choice, ledger))
    found = ledger.document()
    lines, tokens = found["rows"], found["tokens"]
    assert lines["total"] == len(traces) == lines["trained"] + sum(lines["rejected"].values())
    assert tokens["total"] == sum(tokens[part] for part in ("supervised", "context", "truncated", "rejected"))
    assert lines["trained"] * found["width"] == sum(tokens[part] for part in ("supervised", "context", "padding"))
    for config in (None, BUCKETED, PACKED, BY_TOKENS):
        other = replace(ledger, config=config).document()
        computed = sum(each["width"] * each["rows"] * each["batches"] for each in other["batches"])
        assert computed == sum(other["tokens"][part] for part in ("supervised", "context", "padding"))
        assert other["tokens"]["padding"] >= 0
    assert tokens["padding"] >= 0
    # The same counts, made from the rows themselves.
    assert lines["trained"] == len(kept)
    assert tokens["supervised"] == sum(row.stop - row.start for row in kept)
    assert tokens["truncated"] == sum(len(row.truncated) for row in kept)
    assert all(len(row.tokens) <= found["width"] for row in kept)
    assert all(row.stop > row.start for row in kept)
    assert len(found["problems"]) == sum(lines["rejected"].values())


@pytest.mark.parametrize("config", [BUCKETED, PACKED, BY_TOKENS])
def test_the_padding_of_the_ledger_is_that_of_an_epoch_of_batches(config: TrainingConfig) -> None:
    folder, traces = known(), [trace(str(n), steps=("1+2=3" * (1 + n % 9),)) for n in range(40)]
    ledger = Ledger(config.data, folder.digest, config)
    kept = list(rows(traces, folder, config.data, ledger))
    batches = RowBatches(kept, [], config, padding=folder.padding)
    epoch = [batches.training(step, 0) for step in range(1, batches.micro_batches + 1)]
    padding = sum(batch.tokens.size - int(batch.lengths.sum()) for batch in epoch)
    assert ledger.document()["tokens"]["padding"] == padding > 0


def test_a_refusal_names_each_row_with_its_reason_and_the_mend() -> None:
    folder = known()
    ledger = Ledger(DataChoice(max_length=40), folder.digest)
    traces = [trace("a"), trace("b", prompt="1+2?" * 20), trace("c", prompt="§")]
    list(rows(traces, folder, ledger.choice, ledger))
    with pytest.raises(BadInput) as caught:
        ledger.refuse("data-v1")
    assert {fault.pointer: fault.detail.split(":")[0] for fault in caught.value.faults} == {
        "row 2 (b)": "overlong",
        "row 3 (c)": "unknown_character",
    }
    assert caught.value.hint is not None
    assert "max_length" in caught.value.hint


def test_rows_left_out_on_purpose_are_counted_and_not_refused() -> None:
    folder = known()
    ledger = Ledger(DataChoice(max_length=40, overlong="drop"), folder.digest)
    list(rows([trace("a"), trace("b", prompt="1+2?" * 20)], folder, ledger.choice, ledger))
    ledger.refuse("data-v1")
    assert ledger.document()["rows"]["rejected"] == {"overlong": 1}


def test_a_split_with_nothing_left_is_refused() -> None:
    folder = known()
    ledger = Ledger(DataChoice(max_length=10, overlong="drop"), folder.digest)
    list(rows([trace()], folder, ledger.choice, ledger))
    with pytest.raises(BadInput, match="no row is left"):
        ledger.refuse("data-v1")
