"""Judges by name: `exact`, or `numeric:tolerance=0.01,relative=true` with parameters.

Ours stand in the table below, a third party's in the entry points `tunix_rt.judges`. Each is imported when it is asked
for: a broken package breaks its own judge and no other. There is no default that another name falls back to.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from tunix_rt.base.errors import BadInput, Failed, Fault, Problem, cut, nearest
from tunix_rt.base.plugins import Plugins
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges.contract import Choice, Judge, Judgement, Kind, Parameters, Question

__all__ = ["DEFAULT", "Choice", "Judge", "Judgement", "Kind", "Parameters", "Question", "kind", "named", "names"]

DEFAULT = "answer_correctness"
OURS = {
    name: f"tunix_rt.evaluation.judges.{module}:KIND"
    for name, module in {
        "answer_correctness": "answer_correctness",
        "choice": "choice",
        "exact": "exact",
        "llm": "llm",
        "math": "mathematics",
        "numeric": "numeric",
        "reasoning-gym": "gym",
        "regex": "expression",
        "steps": "steps",
    }.items()
}
LONGEST = 64  # characters of a judge's name with its parameters, as it is stored
_NEXT = re.compile(r",(?=[A-Za-z_]\w*=)")  # a comma in a value is part of it


_JUDGES: Plugins[Kind[Any]] = Plugins("judge", Kind, "tunix_rt.judges", BadInput, OURS)
names, kind = _JUDGES.names, _JUDGES.load


def named(text: str, settings: Settings | None = None) -> Judge:
    """Find a judge and give it its parameters.

    Args:
        text: `NAME`, or `NAME:key=value,key=value`.
        settings: of the deployment; None: the environment's, read by a judge that needs any.

    Raises:
        BadInput: there is none of that name, or a parameter is wrong.
        MissingExtra: a library of it is not installed.
        Conflict, Failed: see `base.plugins`.
    """
    name, _, rest = text.partition(":")
    found = kind(name)
    parameters = _parameters(found, rest)
    made = found.make(parameters, Settings() if settings is None else settings)
    if made.name != name:
        raise Failed(f"The judge {name!r} made one that calls itself {cut(made.name)!r}.")
    full = _full_name(found, made)
    if len(full) > LONGEST:
        raise BadInput(f"The judge {cut(full, 120)!r} is longer than {LONGEST} characters with its parameters.")
    return replace(made, name=full, judge=_guarded(made), unscorable=_guarded_reason(made))


def _parameters(found: Kind[Any], rest: str) -> BaseModel:
    given: dict[str, str] = {}
    for pair in _NEXT.split(rest) if rest else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(
                f"The judge {found.name!r} was given {cut(pair, 60)!r}, which is no `key=value`.",
                hint=f"For example: {found.name}:key=value,key=value",
            )
        if key in given:
            raise BadInput(f"The judge {found.name!r} was given {key!r} twice.")
        if key not in found.parameters.model_fields:
            known = nearest(key, found.parameters.model_fields)
            raise BadInput(f"The judge {found.name!r} has no parameter {cut(key, 60)!r}.{known}")
        given[key] = value
    try:
        return found.parameters.model_validate(given)  # type: ignore[no-any-return]  # a Kind of whatever parameters
    except ValidationError as error:
        faults = [
            Fault(".".join(map(str, one["loc"])), f"{one['msg']}; it is {cut(str(one['input']), 60)!r}")
            for one in error.errors(include_url=False)
        ]
        raise BadInput(f"The judge {found.name!r} does not take these parameters.", faults=faults) from None


def _full_name(found: Kind[Any], made: Judge) -> str:
    defaults = {key: field.default for key, field in found.parameters.model_fields.items()}
    told = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in sorted(made.parameters.items())
        if key in defaults and value != defaults[key]
    ]
    return f"{made.name}:{','.join(told)}" if told else made.name


def _guarded_reason(made: Judge) -> Callable[[Question], str | None]:
    def guarded(question: Question) -> str | None:
        try:
            return made.unscorable(question)
        except Exception as error:  # as below
            return f"the judge failed: {type(error).__name__}: {cut(str(error))}"

    return guarded


def _guarded(made: Judge) -> Callable[[Question, str], Judgement]:
    """The judge's function, whose bugs leave an item unscored instead of ending the evaluation."""
    judge = made.judge

    def guarded(question: Question, output: str) -> Judgement:
        try:
            found = judge(question, output)
            if found.score is None or 0 <= found.score <= 1:
                return found
            return Judgement(None, reason=f"the judge gave {found.score!r}, which is no share from 0 to 1")
        except Problem:
            raise
        except Exception as error:  # a third party's code, or a library's: anything may come
            return Judgement(None, reason=f"the judge failed: {type(error).__name__}: {cut(str(error))}")

    return guarded
