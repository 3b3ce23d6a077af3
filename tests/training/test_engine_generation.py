"""Answers: what they are, what they depend on, and why they end."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.training.make_engine import VOCABULARY, config, train
from tunix_rt.base.errors import BadInput
from tunix_rt.training.engines import Sampling, jax_generation, load
from tunix_rt.training.engines.jax_model import Decoder

RANDOM = np.random.default_rng(0)
PROMPTS: list[list[int]] = [RANDOM.integers(0, VOCABULARY, n).tolist() for n in (1, 3, 15, 16, 17, 5, 9, 30, 2, 16)]
LONGEST = 12
# As many everywhere as where they are meant: their number is part of a program's shape, and compiling takes seconds.
NO_STOPS = (VOCABULARY, VOCABULARY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt a little."""
    folder = tmp_path_factory.mktemp("generation")
    train(folder, config=config(steps=20, model={"family": "qwen3"}, eval_every_steps=50, checkpoint_every_steps=50))
    return folder / "model"


@pytest.fixture(scope="module")
def model(folder: Path) -> Decoder:
    return jax_generation.load(folder)


def _sampling(**changes: Any) -> Sampling:
    return dataclasses.replace(Sampling(LONGEST, 0.0, 0, NO_STOPS), **changes)


def _answers(model: Decoder, prompts: list[list[int]], **changes: Any) -> list[list[int]]:
    return [answer.tokens for answer in jax_generation.generate(model, prompts, _sampling(**changes), lambda _: None)]


@pytest.fixture(scope="module")
def greedy(model: Decoder) -> list[list[int]]:
    return _answers(model, PROMPTS)


def test_greedy_answers_are_the_argmax_of_the_whole_row(model: Decoder, greedy: list[list[int]]) -> None:
    whole = jax.jit(lambda tokens: model(tokens))
    for prompt, answer in zip(PROMPTS, greedy, strict=True):
        row = np.zeros((1, 48), np.int32)
        row[0, : len(prompt) + LONGEST] = prompt + answer
        likeliest = np.asarray(whole(row))[0].argmax(axis=-1)
        assert answer == likeliest[len(prompt) - 1 : len(prompt) + LONGEST - 1].tolist()


def test_an_answer_does_not_depend_on_its_neighbours(model: Decoder, greedy: list[list[int]]) -> None:
    assert _answers(model, PROMPTS[::-1]) == greedy[::-1]
    assert _answers(model, PROMPTS[2:3]) == greedy[2:3]


def test_a_drawn_answer_depends_on_its_place_and_the_seed_alone(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = [PROMPTS[2]] * 10
    drawn = _answers(model, same, temperature=1.0, seed=1)
    assert len({tuple(answer) for answer in drawn}) > 5
    assert _answers(model, same, temperature=1.0, seed=1) == drawn
    assert _answers(model, same, temperature=1.0, seed=2) != drawn
    monkeypatch.setattr(jax_generation, "_ROWS", 4)
    assert _answers(model, [*same[:5], *PROMPTS[:3]], temperature=1.0, seed=1)[:5] == drawn[:5]


def test_a_small_temperature_draws_the_likeliest(model: Decoder, greedy: list[list[int]]) -> None:
    short = [index for index, prompt in enumerate(PROMPTS) if len(prompt) <= 16] + [0, 0]
    assert _answers(model, [PROMPTS[index] for index in short], temperature=1e-6) == [greedy[i] for i in short]


def test_drawn_tokens_are_as_frequent_as_the_model_says(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax_generation, "_ROWS", 16)  # the program of the test above
    drawn = _answers(model, [PROMPTS[1]] * 2000, temperature=1.0)
    share = np.bincount([answer[0] for answer in drawn], minlength=VOCABULARY) / 2000
    logits = np.asarray(jax.jit(lambda tokens: model(tokens))(np.array([PROMPTS[1]])))[0, -1]
    likely = np.exp(logits) / np.exp(logits).sum()
    assert np.abs(share - likely).max() < 4 * 0.5 / 2000**0.5


def test_an_answer_ends_before_its_stop_token_or_at_its_longest(model: Decoder, greedy: list[list[int]]) -> None:
    stops = (greedy[0][4], greedy[3][7])
    answers = jax_generation.generate(model, PROMPTS, _sampling(stop=stops), lambda _: None)
    for answer, whole in zip(answers, greedy, strict=True):
        places = [place for place, token in enumerate(whole) if token in stops]
        assert answer.tokens == (whole[: places[0]] if places else whole)
        assert answer.finish_reason == ("stop" if places else "length")
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


def test_finished_answers_are_counted(model: Decoder) -> None:
    told: list[int] = []
    jax_generation.generate(model, PROMPTS, _sampling(), told.append)
    assert told == sorted(told)
    assert told[-1] == len(PROMPTS)


def test_no_prompts_give_no_answers(folder: Path) -> None:
    assert load("tunix").generate(folder, [], _sampling(), lambda _: None) == []


@pytest.mark.parametrize(
    ("prompt", "changes", "message"),
    [
        ([], {}, "Prompt 1 has no tokens"),
        ([1] * 2000, {"max_new_tokens": 49}, "Prompt 1 has 2000 tokens; with 49 new ones .* 2048 positions"),
        ([VOCABULARY], {}, r"outside of the model's 0\.\.31"),
        ([-1], {}, r"outside of the model's 0\.\.31"),
        ([1], {"max_new_tokens": 0}, "max_new_tokens is at least 1"),
        ([1], {"temperature": -0.5}, "temperature at least 0"),
        ([1], {"temperature": float("nan")}, "temperature at least 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    model: Decoder, prompt: list[int], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        jax_generation.generate(model, [[1], prompt], _sampling(**changes), lambda _: None)


def test_prompts_of_similar_lengths_share_a_program(model: Decoder) -> None:
    _answers(model, [[1] * 18] * 10)
    before = jax_generation._answer._cache_size()
    _answers(model, [[token] * (17 + token) for token in range(10)])
    assert jax_generation._answer._cache_size() == before


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "gemma3_text"])
def test_greedy_answers_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    import torch  # slow to load, and of these tests alone
    import transformers

    shape = {"family": family, "layers": 2, "head_size": 8}
    train(tmp_path, config=config(steps=0, model=shape))
    _spread(tmp_path / "model")
    ours = _answers(jax_generation.load(tmp_path / "model"), PROMPTS[:4])
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    model.generation_config.eos_token_id = None
    for prompt, answer in zip(PROMPTS, ours, strict=False):
        row = torch.tensor([prompt])
        found = model.generate(row, attention_mask=torch.ones_like(row), max_new_tokens=LONGEST, do_sample=False)
        assert found[0, len(prompt) :].tolist() == answer
    assert len({tuple(answer) for answer in ours}) == 4


def _spread(folder: Path) -> None:
    """Weights so large that answers vary, and for Gemma a window shorter than the rows."""
    tensors = load_file(folder / "model.safetensors")
    save_file({name: 2 * value for name, value in tensors.items()}, folder / "model.safetensors")
    content = json.loads((folder / "config.json").read_text())
    if "query_pre_attn_scalar" in content:
        content |= {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
        (folder / "config.json").write_text(json.dumps(content))
