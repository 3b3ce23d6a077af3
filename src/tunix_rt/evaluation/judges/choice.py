"""The judge `choice`: the letter of a multiple-choice answer.

An item's meta.choices holds the options: a list of texts (A, B, C, ... in order), an object `{letter: text}`, or
`{"label": [...], "text": [...]}`. Without it any letter from A to Z is an option. The expected answer is a letter or
the text of an option. In the output an option is looked for, and the first of these that finds one counts:

1. `<marker>`: behind a marker of `evaluation.answers` (`Answer: B`, `\\boxed{B}`), as it is read below;
2. `phrase`: the last `the answer is B`, `option (B)`, `choice B`;
3. `last_line`, then `first_line`.

Read is: a letter alone (`B`, `(B)`, `b.`, `**B**`); the text of an option; a letter before a bracket, period or colon
(`B) Paris`); the only letter in brackets, or behind the last phrase of 2; the only option whose text occurs.
"""

import re
from collections.abc import Mapping

from tunix_rt.base.errors import cut
from tunix_rt.evaluation.answers import Target, extract
from tunix_rt.evaluation.judges.contract import SHOWN, Judge, Judgement, Kind, Parameters, Question
from tunix_rt.evaluation.normal import normal

Options = Mapping[str, str]  # label in upper case -> normal form of its text

_ANY: Options = {chr(ord("A") + place): "" for place in range(26)}
_LINE = 2_000  # characters of a line that are read
_TAIL = 20_000  # characters from the end that are searched for a phrase
_LEADING = re.compile(r"[\s(\[*_\"'“`]*([A-Za-z0-9])\s?(?:[)\].:*]|\\?$)")
_BRACKETS = re.compile(r"\(([A-Z0-9])\)")
_PHRASE = re.compile(
    r"\b(?i:answer|choice|option)(?i: (?:is|would be|should be|must be))?[ :*\"']{0,6}(?i:option |choice )?"
    r"[*(\[\"']{0,4}([A-Z0-9])(?![\w'])(?!(?<=A) [a-z])"  # the article is no option
)


def options(question: Question) -> Options | str:
    """The options of a question, or what is wrong with them."""
    found = question.meta.get("choices")
    if found is None:
        return _ANY
    if isinstance(found, Mapping) and found.keys() >= {"label", "text"}:
        labels, texts = found["label"], found["text"]
    elif isinstance(found, Mapping):
        labels, texts = list(found), list(found.values())
    else:
        labels, texts = list(_ANY), found
    if not isinstance(labels, list) or not isinstance(texts, list) or not 0 < len(texts) <= len(labels):
        return "meta.choices is no list of options"
    if not all(isinstance(text, str) for text in [*labels, *texts]):
        return "meta.choices holds an option that is no text"
    made = {label.strip().upper(): normal(text) for label, text in zip(labels, texts, strict=False)}
    if len(made) != len(texts) or any(len(label) != 1 for label in made):
        return "meta.choices has labels that are not one letter each"
    return made


def wanted(question: Question, known: Options) -> str | None:
    """The label of the expected answer."""
    plain = normal(question.expected)
    if plain.upper() in known:
        return plain.upper()
    return _of_text(plain, known) or _leading(question.expected, known)


def _of_text(plain: str, known: Options) -> str | None:
    same = [label for label, text in known.items() if text and text == plain]
    return same[0] if len(same) == 1 else None


def _leading(text: str, known: Options) -> str | None:
    match = _LEADING.match(text)
    label: str = match.group(1).upper() if match else ""
    return label if label in known else None


def _phrase(text: str, known: Options) -> str | None:
    said: list[str] = [match.group(1) for match in _PHRASE.finditer(text) if match.group(1) in known]
    return said[-1] if said else None


def read(text: str, known: Options) -> str | None:
    """The label that a short text means; see the rules above."""
    text = text[:_LINE].strip()
    plain = normal(text)
    if plain.upper() in known:
        return plain.upper()
    label = _of_text(plain, known) or _leading(text, known)
    if label:
        return label
    bracketed: set[str] = {label for label in _BRACKETS.findall(text) if label in known}
    if len(bracketed) == 1:
        return bracketed.pop()
    said = _phrase(text, known)
    if said:
        return said
    occurring = [
        label for label, option in known.items() if option and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", plain)
    ]
    return occurring[0] if len(occurring) == 1 else None


def find(output: str, known: Options) -> tuple[str, str] | None:
    """The label that an output chooses, and the rule that found it."""
    marked = extract(output, Target("", "", None, False))
    if marked.rule != "whole_text":
        label = read(marked.text, known)
        return (label, marked.rule) if label else None
    label = _phrase(output[-_TAIL:], known)
    if label:
        return label, "phrase"
    whole = output.strip()
    for rule, line in (("last_line", whole[-_LINE:].rpartition("\n")[2]), ("first_line", whole[:_LINE].split("\n")[0])):
        label = read(line, known)
        if label:
            return label, rule
    return None


def _unscorable(question: Question) -> str | None:
    known = options(question)
    if isinstance(known, str):
        return known
    if wanted(question, known) is None:
        return f"the expected answer {cut(question.expected, 60)!r} is none of the options"
    return None


def _judge(question: Question, output: str) -> Judgement:
    known = options(question)
    if isinstance(known, str):
        return Judgement(None, reason=known)
    right = wanted(question, known)
    if right is None:
        return Judgement(None, reason=_unscorable(question))
    found = find(output, known)
    if found is None:
        return Judgement(0.0, cut(output.strip(), SHOWN), None, "no option was chosen")
    label, rule = found
    return Judgement(float(label == right), label, rule, None if label == right else f"the expected option is {right}")


KIND = Kind(
    "choice",
    "The letter of a multiple-choice answer (options in meta.choices).",
    Parameters,
    lambda _parameters, _settings: Judge("choice", "1", _judge, unscorable=_unscorable),
)
