"""A trace becomes a row of tokens: the one renderer of training, generation and the ledger.

A row is the whole conversation as the tokenizer's chat template writes it. What is supervised is what the model has
to say itself: everything after the prompt, up to and including the stop token.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tunix_rt.base.errors import BadInput, cut
from tunix_rt.training.config import DataChoice
from tunix_rt.training.tokenizer import Folder

Reason = Literal[
    "overlong",
    "answer_cut_off",
    "no_supervised_tokens",
    "stop_not_supervised",
    "prompt_not_prefix",
    "control_token_in_text",
    "unknown_character",
    "template_fails",
]


@dataclass(frozen=True)
class Row:
    """A trace as it is trained.

    Attributes:
        id: of the trace.
        tokens: token ids, at most `max_length`.
        start: first supervised token.
        stop: one past the last supervised token, which is the stop token.
        truncated: tokens that were cut from the prompt's start.
    """

    id: str
    tokens: list[int]
    start: int
    stop: int
    truncated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A trace that is not trained, and why.

    Attributes:
        id: of the trace.
        reason: a name to count by.
        detail: what is wrong in this very row.
        tokens: how many tokens it would have had; 0 where it could not be tokenized.
    """

    id: str
    reason: Reason
    detail: str
    tokens: int = 0


def completion(trace: dict[str, Any], template: str) -> str:
    """What the model is taught to say (`spec/formats.md`, "Reasoning template").

    Args:
        trace: with `steps` in order and `final_answer`.
        template: `reasoning`: numbered steps, then the answer; `answer`: the answer alone.
    """
    answer = f"Answer: {trace['final_answer']}"
    if template == "answer":
        return answer
    steps = "".join(f"{number}. {step['content']}\n" for number, step in enumerate(trace["steps"], start=1))
    return f"Reasoning:\n{steps}{answer}"


def prompt_tokens(prompt: str, tokenizer: Folder) -> list[int]:
    """Token ids of a prompt, up to where the model goes on: the same in training and in generation.

    Raises:
        BadInput: the text holds one of the tokenizer's control tokens.
    """
    if control := _control(prompt, tokenizer):
        raise BadInput(f"The prompt holds the control token {control!r}; it would not be read as text.")
    return tokenizer.encode(tokenizer.render(prompt))


def row(trace: dict[str, Any], tokenizer: Folder, choice: DataChoice) -> Row | Rejected:
    """Render, tokenize and check one trace.

    Returns:
        The row; or why it cannot be trained as it is, the first reason found.
    """
    name, prompt, said = str(trace["id"]), str(trace["prompt"]), completion(trace, choice.template)
    if control := _control(prompt + "\n" + said, tokenizer):
        return Rejected(name, "control_token_in_text", f"the text holds the tokenizer's control token {control!r}")
    try:
        before, all_of_it = tokenizer.render(prompt), tokenizer.render(prompt, said)
    except BadInput as error:
        return Rejected(name, "template_fails", error.detail)
    context, tokens = tokenizer.encode(before), tokenizer.encode(all_of_it)
    if not all_of_it.startswith(before) or tokens[: len(context)] != context:
        return Rejected(
            name,
            "prompt_not_prefix",
            f"the prompt alone is rendered as …{cut(before[-60:])!r}, which is not how the whole begins",
            len(tokens),
        )
    return _supervise(name, trace, tokenizer, choice, len(context), tokens, all_of_it[len(before) :])


def _supervise(
    name: str, trace: dict[str, Any], tokenizer: Folder, choice: DataChoice, start: int, tokens: list[int], said: str
) -> Row | Rejected:
    size = len(tokens)
    if start >= size:
        return Rejected(name, "no_supervised_tokens", "the template renders nothing after the prompt", size)
    if str(trace["final_answer"]) not in said:
        return Rejected(name, "answer_cut_off", "the template leaves out the final answer", size)
    if tokenizer.unknown is not None and tokenizer.unknown in tokens:
        odd = next((c for c in trace["prompt"] + said if tokenizer.encode(c) == [tokenizer.unknown]), "?")
        return Rejected(name, "unknown_character", f"the tokenizer does not know {odd!r}", size)
    ends = [place for place in range(start, size) if tokens[place] in tokenizer.stop]
    if not ends:
        stops = ", ".join(repr(tokenizer.piece(token)) for token in tokenizer.stop)
        return Rejected(name, "stop_not_supervised", f"no stop token ({stops}) after the completion", size)
    stop, limit = ends[-1] + 1, choice.max_length or size
    over = size - limit
    if over <= 0:
        return Row(name, tokens, start, stop)
    if choice.overlong != "truncate":
        return Rejected(name, "overlong", f"{size} tokens, over max_length {limit}", size)
    if over >= start:
        return Rejected(
            name, "answer_cut_off", f"prompt cut away, {size - start} tokens of completion exceed {limit}", size
        )
    return Row(name, tokens[over:], start - over, stop - over, tuple(tokens[:over]))


def _control(text: str, tokenizer: Folder) -> str | None:
    return next((token for token in tokenizer.control if token in text), None)
