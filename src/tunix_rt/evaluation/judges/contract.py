"""What a judge is: a name, a version, parameters, and a function from a question and an output to a judgement."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import rfc8785


@dataclass(frozen=True, slots=True)
class Question:
    """What an output is judged against: an item of an eval set."""

    prompt: str
    expected: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one item.

    Attributes:
        score: 0 to 1; None: it cannot be scored, which is not the same as wrong.
        extracted: the answer that was found in the output, as it was compared or as it stood there.
        rule: name of the rule that found it.
        reason: why the score is what it is; None where there is nothing to say.
    """

    score: float | None
    extracted: str | None = None
    rule: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Judge:
    """A judge; `digest` is part of every score that it gives, so a changed rule needs a new version.

    Attributes:
        judge: (question, raw output) to judgement; never raises, whatever the texts.
        concurrency: how many outputs may be judged at once; over 1 for a judge that waits for somebody else.
        unscorable: why no output to a question could be scored; None where one could.
    """

    name: str
    version: str
    judge: Callable[[Question, str], Judgement]
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    concurrency: int = 1
    unscorable: Callable[[Question], str | None] = lambda _: None

    @cached_property
    def digest(self) -> str:
        """`sha256:` of the canonical JSON of name, version and parameters."""
        content = rfc8785.dumps({"name": self.name, "version": self.version, "parameters": {**self.parameters}})
        return "sha256:" + hashlib.sha256(content).hexdigest()
