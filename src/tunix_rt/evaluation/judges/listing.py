"""All judges at a glance: what each says, what it takes, and whether it can be had here."""

from typing import Any

from pydantic import BaseModel

from tunix_rt.base.errors import Problem
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import judges
from tunix_rt.evaluation.judges.contract import Kind


class JudgeParameter(BaseModel):
    """A parameter of a judge: `NAME:key=value`."""

    default: Any
    description: str | None


class JudgeView(BaseModel):
    """A judge. Version and digest are those without parameters; null where it cannot be had so."""

    name: str
    description: str | None
    parameters: dict[str, JudgeParameter]
    version: str | None = None
    digest: str | None = None
    problem: str | None = None
    hint: str | None = None


def listed(settings: Settings) -> list[JudgeView]:
    """Every judge that is installed, by name; a broken one, or one that lacks a library, says what is wrong."""
    return [_view(name, settings) for name in judges.names()]


def shown(text: str, settings: Settings) -> JudgeView:
    """A judge by `NAME` or `NAME:key=value,...`, with the version and digest that it has with these parameters.

    Raises:
        Problem: as `judges.named`.
    """
    judge = judges.named(text, settings)
    about = {"name": judge.name, "version": judge.version, "digest": judge.digest}
    return _described(judges.kind(text.partition(":")[0])).model_copy(update=about)


def _described(kind: Kind[Any]) -> JudgeView:
    parameters = {
        key: JudgeParameter(default=one.default, description=one.description)
        for key, one in kind.parameters.model_fields.items()
    }
    return JudgeView(name=kind.name, description=kind.description, parameters=parameters)


def _view(name: str, settings: Settings) -> JudgeView:
    try:
        kind = judges.kind(name)
    except Problem as problem:
        return JudgeView(name=name, description=None, parameters={}, problem=problem.detail, hint=problem.hint)
    found = _described(kind)
    try:
        judge = judges.named(name, settings)
    except Problem as problem:
        return found.model_copy(update={"problem": problem.detail, "hint": problem.hint})
    return found.model_copy(update={"version": judge.version, "digest": judge.digest})
