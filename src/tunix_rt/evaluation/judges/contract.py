"""What a judge is: a name, a version, parameters, and a function from a question and an output to a judgement."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict

from tunix_rt.base.settings import Settings

SHOWN = 1_000  # characters of an answer, or of a reason, that are kept
NOTHING_EXPECTED = "the expected answer is empty: there is nothing to compare with"


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


Preference = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of two outputs is the better one, asked in both orders.

    Attributes:
        preferred: None where no verdict could be had.
        consistent: whether both orders gave the same; None where one of them gave none.
        reason: why there is no preference.
    """

    preferred: Preference | None
    consistent: bool | None
    reason: str | None = None


@dataclass(frozen=True)
class Judge:
    """A judge; `digest` is part of every score that it gives, so a changed rule needs a new version.

    Attributes:
        name: what one asks for to have it again: `numeric`, or `numeric:tolerance=0.01` where a parameter is not
            the default.
        judge: (question, raw output) to judgement; never raises, whatever the texts, except a `Problem` that no item
            would escape, such as a key that is refused.
        parameters: whatever else decides the score.
        concurrency: how many outputs may be judged at once; over 1 for a judge that waits for somebody else.
        repeatable: whether the same texts get the same judgement for sure.
        unscorable: why no output to a question could be scored; None where one could.
        pairwise: (question, output a, output b) to which is better, for a judge that can compare.
    """

    name: str
    version: str
    judge: Callable[[Question, str], Judgement]
    parameters: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    concurrency: int = 1
    repeatable: bool = True
    unscorable: Callable[[Question], str | None] = lambda _: None
    pairwise: Callable[[Question, str, str], Choice] | None = None

    @cached_property
    def digest(self) -> str:
        """`sha256:` of the canonical JSON of the name without its parameters, the version, and all parameters."""
        name, parameters = self.name.partition(":")[0], {**self.parameters}
        content = rfc8785.dumps({"name": name, "version": self.version, "parameters": parameters})
        return "sha256:" + hashlib.sha256(content).hexdigest()


class Parameters(BaseModel):
    """The parameters of a judge, and by itself those of a judge that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Given = TypeVar("Given", bound=BaseModel)


@dataclass(frozen=True)
class Kind(Generic[Given]):
    """A judge before its parameters are known: what an entry point names.

    Attributes:
        name: the name of the entry point: what a user types.
        description: one sentence.
        parameters: a frozen model that refuses unknown keys and has a default for each field, none of them a list.
        make: the judge by those parameters, named `name`. Raises MissingExtra where a library of it is not there.
    """

    name: str
    description: str
    parameters: type[Given]
    make: Callable[[Given, Settings], Judge]


def nothing_expected(question: Question) -> str | None:
    """Why a judge that compares with the expected answer cannot score a question."""
    return None if question.expected.strip() else NOTHING_EXPECTED
