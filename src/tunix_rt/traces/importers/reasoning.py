"""Telling an assistant's reasoning from its answer."""

import re

from tunix_rt.base.errors import BadInput

_TAG = re.compile(r"</?(think|reasoning)>")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_NUMBERED = re.compile(r"^([0-9]+)\. ", re.MULTILINE)


def paragraphs(text: str) -> list[str]:
    """Cut a text at its blank lines."""
    return [part.strip() for part in _BLANK_LINES.split(text.replace("\r\n", "\n")) if part.strip()]


def split(text: str, at: str) -> tuple[list[str], str]:
    """Tell steps and final answer in what an assistant said.

    Args:
        text: `<think>steps</think>answer`, the same with `<reasoning>`, or our own reasoning template.
        at: where the text stands, for errors.

    Returns:
        The steps' contents and the final answer.

    Raises:
        BadInput: no reasoning, no answer, or tags that do not fit.
    """
    tags = list(_TAG.finditer(text))
    if not tags:
        return _numbered(text, at)
    names = [tag[0] for tag in tags]
    kind = tags[0][1]
    opened, closed = f"<{kind}>", f"</{kind}>"
    if names == [opened]:
        raise BadInput(f"{at}: {opened} is never closed (was the text cut off?)")
    # Some chat templates open the tag in the prompt, so that the model only closes it.
    if names not in ([opened, closed], [closed]):
        raise BadInput(f"{at}: expected one {opened}…{closed}, found {' '.join(names[:6])}")
    if len(tags) == 2 and text[: tags[0].start()].strip():
        raise BadInput(f"{at}: text stands before {opened}; it is neither reasoning nor answer")
    steps = paragraphs(text[tags[0].end() if len(tags) == 2 else 0 : tags[-1].start()])
    if not steps:
        raise BadInput(f"{at}: there is no reasoning inside {opened}")
    return steps, answer(text[tags[-1].end() :], at, f"after {closed}")


def answer(text: str, at: str, where: str) -> str:
    """What stands after the reasoning."""
    if not text.strip():
        raise BadInput(f"{at}: no final answer stands {where}")
    return text.strip()


def _numbered(text: str, at: str) -> tuple[list[str], str]:
    """Read the reasoning template: `Reasoning:`, numbered steps (of any number of lines each), `Answer: …`."""
    body, marker, said = text.rpartition("\nAnswer: ")
    if not text.startswith("Reasoning:\n") or not marker:
        raise BadInput(f"{at}: no reasoning found: no <think> or <reasoning>, and not `Reasoning:` … `Answer: …`")
    body = body.removeprefix("Reasoning:\n")
    starts: list[re.Match[str]] = []
    for match in _NUMBERED.finditer(body):
        if int(match[1]) == len(starts) + 1:
            starts.append(match)
    if not starts or starts[0].start() != 0:
        raise BadInput(f"{at}: after `Reasoning:` the steps must be numbered, `1. …` first")
    ends = [match.start() - 1 for match in starts[1:]] + [len(body)]
    answer(said, at, "after Answer:")
    return [body[match.end() : end] for match, end in zip(starts, ends, strict=True)], said
