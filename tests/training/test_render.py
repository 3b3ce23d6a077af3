"""Rendering and tokenizing: what is supervised, what is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.make import tokenizer_folder, trace
from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.training import tokenizer
from tunix_rt.training.config import DataChoice
from tunix_rt.training.render import Rejected, Row, completion, prompt_tokens, row
from tunix_rt.training.tokenizer import Folder

REASONING = DataChoice()
STORED_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def accepted(found: Row | Rejected) -> Row:
    assert isinstance(found, Row), found
    return found


def refused(found: Row | Rejected) -> str:
    assert isinstance(found, Rejected), found
    return found.reason


def test_the_reasoning_template_is_the_one_of_the_format() -> None:
    text = completion(trace(steps=("first step", "second step"), answer="final answer"), "reasoning")
    assert text == "Reasoning:\n1. first step\n2. second step\nAnswer: final answer"
    assert completion(trace(answer="7"), "answer") == "Answer: 7"


@pytest.mark.parametrize("kind", ["character", "bpe"])
def test_what_is_supervised_is_the_completion_and_its_stop_token(tmp_path: Path, kind: str) -> None:
    one = trace()
    folder = tokenizer_folder(tmp_path, one, kind=kind)
    found = accepted(row(one, folder, REASONING))
    assert folder.decode(found.tokens[: found.start]) == "1+2?\n"
    assert folder.decode(found.tokens[found.start : found.stop]) == completion(one, "reasoning")
    assert found.tokens[found.stop - 1] in folder.stop
    assert found.stop == len(found.tokens)


@pytest.mark.parametrize("kind", ["character", "bpe"])
def test_the_prompt_has_the_same_tokens_in_training_and_generation(tmp_path: Path, kind: str) -> None:
    one = trace()
    folder = tokenizer_folder(tmp_path, one, kind=kind)
    found = accepted(row(one, folder, REASONING))
    assert found.tokens[: found.start] == prompt_tokens(one["prompt"], folder)


@settings(max_examples=50, deadline=None)
@given(STORED_TEXT, st.lists(STORED_TEXT, min_size=1, max_size=4), STORED_TEXT)
def test_any_text_is_trained_whole_or_refused_with_a_reason(prompt: str, steps: list[str], answer: str) -> None:
    import tempfile

    one = trace(prompt=prompt, steps=tuple(steps), answer=answer)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("character", "bpe"):
            known = tokenizer_folder(Path(folder) / kind, one, kind=kind)
            found = row(one, known, REASONING)
            if isinstance(found, Row):
                assert known.decode(found.tokens[found.start : found.stop]) == completion(one, "reasoning")


def test_a_control_token_in_a_text_is_refused(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, trace())
    for one in (trace(prompt="stop<eos>"), trace(steps=("<pad>",)), trace(answer="<eos>")):
        assert refused(row(one, folder, REASONING)) == "control_token_in_text"
    with pytest.raises(BadInput, match="control token"):
        prompt_tokens("stop<eos>", folder)


def test_a_template_without_a_stop_token_is_refused(tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    folder = tokenizer_folder(tmp_path, trace(), template=template)
    assert refused(row(trace(), folder, REASONING)) == "stop_not_supervised"


def test_a_template_whose_prompt_is_not_a_prefix_is_refused(tmp_path: Path) -> None:
    template = "{{ messages|length }}{% for message in messages %}{{ message['content'] }}{% endfor %}{{ eos_token }}"
    folder = tokenizer_folder(tmp_path, trace(), template=template)
    assert refused(row(trace(), folder, REASONING)) == "prompt_not_prefix"


def test_a_template_that_leaves_the_completion_out_is_refused(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, trace(), template="{{ messages[0]['content'] }}")
    assert refused(row(trace(), folder, REASONING)) == "no_supervised_tokens"


def test_a_template_that_leaves_the_answer_out_is_refused(tmp_path: Path) -> None:
    template = "{{ messages[0]['content'] }}{% if messages|length > 1 %}{{ eos_token }}{% endif %}"
    folder = tokenizer_folder(tmp_path, trace(), template=template)
    assert refused(row(trace(), folder, REASONING)) == "answer_cut_off"


def test_a_template_that_fails_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, trace(), template="{{ raise_exception('no system turn') }}")
    found = row(trace(), folder, REASONING)
    assert isinstance(found, Rejected)
    assert (found.reason, "no system turn" in found.detail) == ("template_fails", True)


def test_a_template_cannot_reach_into_python(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, trace(), template="{{ messages.__class__.__mro__[1].__subclasses__() }}")
    assert refused(row(trace(), folder, REASONING)) == "template_fails"


def test_an_unknown_character_is_refused_and_named(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, trace())
    found = row(trace(prompt="1+2§?"), folder, REASONING)
    assert isinstance(found, Rejected)
    assert (found.reason, "'§'" in found.detail) == ("unknown_character", True)


def test_overlong_rows_are_refused_cut_at_the_prompt_or_left_out(tmp_path: Path) -> None:
    one = trace(prompt="1+2?" * 10)
    folder = tokenizer_folder(tmp_path, one)
    whole = accepted(row(one, folder, REASONING))
    size = len(whole.tokens)
    shorter = DataChoice(max_length=size - 4, overlong="truncate")
    found = accepted(row(one, folder, shorter))
    assert len(found.tokens) == size - 4
    assert list(found.truncated) == whole.tokens[:4]
    assert found.tokens[found.start : found.stop] == whole.tokens[whole.start : whole.stop]
    for overlong in ("raise", "drop"):
        assert refused(row(one, folder, DataChoice(max_length=size - 1, overlong=overlong))) == "overlong"
    assert accepted(row(one, folder, DataChoice(max_length=size))).truncated == ()


def test_a_completion_that_does_not_fit_is_never_cut(tmp_path: Path) -> None:
    one = trace(steps=("1+2=3" * 10,))
    folder = tokenizer_folder(tmp_path, one)
    assert refused(row(one, folder, DataChoice(max_length=20, overlong="truncate"))) == "answer_cut_off"


def test_the_stop_token_of_a_turn_counts_where_the_model_names_it(tmp_path: Path) -> None:
    """Gemma and Qwen end a turn with another token than the tokenizer's eos."""
    template = tokenizer.PLAIN_TEMPLATE.replace("eos_token", "'<pad>'")
    folder = tokenizer_folder(tmp_path, trace(), template=template)
    assert refused(row(trace(), folder, REASONING)) == "stop_not_supervised"
    turn_end = folder.special["pad"]
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [folder.stop[0], turn_end]}))
    found = accepted(row(trace(), Folder(tmp_path), REASONING))
    assert found.tokens[found.stop - 1] == turn_end


def test_a_folder_without_a_tokenizer_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Folder(tmp_path / "none")
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        Folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="is not a tokenizer"):
        Folder(tmp_path)


def test_a_tokenizer_without_a_stop_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no stop token"):
        tokenizer_folder(tmp_path, trace(), eos_token=None)


def test_the_digest_covers_the_template(tmp_path: Path) -> None:
    plain = tokenizer_folder(tmp_path / "a", trace())
    assert tokenizer_folder(tmp_path / "b", trace()).digest == plain.digest
    other = tokenizer.PLAIN_TEMPLATE.replace("\\n", " ")
    assert tokenizer_folder(tmp_path / "c", trace(), template=other).digest != plain.digest


def test_transformers_renders_our_folder_to_the_same_tokens(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for kind in ("character", "bpe"):
        one = trace(prompt="How many?  12 + 3", steps=("12+3=15",), answer="15")
        folder = tokenizer_folder(tmp_path / kind, one, kind=kind)
        theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / kind))
        user = {"role": "user", "content": one["prompt"]}
        prompt = theirs.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
        assert list(prompt) == prompt_tokens(one["prompt"], folder)
        said = {"role": "assistant", "content": completion(one, "reasoning")}
        whole = theirs.apply_chat_template([user, said], return_dict=False)
        assert list(whole) == accepted(row(one, folder, REASONING)).tokens
