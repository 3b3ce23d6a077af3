"""Judges by name: `exact`, or `numeric:tolerance=0.01,relative=true` with parameters.

Ours stand in the table below, a third party's in the entry points `tunix_rt.judges`. Each is imported when it is asked
for: a broken package breaks its own judge and no other. There is no default that another name falls back to.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from tunix_rt.base.errors import BadInput, Conflict, Failed, Fault, Problem, cut, nearest
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges.contract import Choice, Judge, Judgement, Kind, Parameters, Question

__all__ = ["DEFAULT", "Choice", "Judge", "Judgement", "Kind", "Parameters", "Question", "kind", "named", "names"]

GROUP = "tunix_rt.judges"
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


def _points() -> Iterator[EntryPoint]:
    for name, value in OURS.items():
        yield EntryPoint(name, value, GROUP)
    yield from entry_points(group=GROUP)


def names() -> list[str]:
    """Every judge that is installed, sorted. None of them is imported."""
    return sorted({point.name for point in _points()})


def kind(name: str) -> Kind[Any]:
    """Import a judge.

    Raises:
        BadInput: there is none of that name.
        Conflict: several packages provide it.
        Failed: the package that provides it is broken.
    """
    found = [point for point in _points() if point.name == name]
    if not found:
        raise BadInput(
            f"No judge named {cut(name, 60)!r}.{nearest(name, names())}",
            hint="A package adds a judge by an entry point: see docs/judges.md.",
        )
    if len(found) > 1:
        packages = ", ".join(sorted(_package(point) for point in found))
        raise Conflict(
            f"The judge {name!r} is provided several times: by {packages}.", hint="Uninstall all packages but one."
        )
    return _import(found[0])


def _import(point: EntryPoint) -> Kind[Any]:
    place = f"The judge {point.name!r} of {_package(point)} ({point.value})"
    hint = "Update or uninstall the package; the other judges work without it."
    try:
        loaded = point.load()
    except Exception as error:  # a third party's code: anything may come
        raise Failed(f"{place} cannot be imported: {type(error).__name__}: {cut(str(error))}", hint=hint) from error
    if not isinstance(loaded, Kind):
        raise Failed(f"{place} is a {type(loaded).__name__}, not a tunix_rt.evaluation.judges.Kind.", hint=hint)
    if loaded.name != point.name:
        raise Failed(f"{place} calls itself {cut(loaded.name)!r}: the two names must be equal.", hint=hint)
    return loaded


def _package(point: EntryPoint) -> str:
    if point.dist is None:
        return "Tunix RT itself"
    return f"the package {point.dist.name} {point.dist.version}"


def named(text: str, settings: Settings | None = None) -> Judge:
    """Find a judge and give it its parameters.

    Args:
        text: `NAME`, or `NAME:key=value,key=value`.
        settings: of the deployment; None: the environment's, read by a judge that needs any.

    Raises:
        BadInput: there is none of that name, or a parameter is wrong.
        MissingExtra: a library of it is not installed.
        Conflict, Failed: see `kind`.
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
