"""All judges at a glance: what each says, what it takes, and whether it can be had here."""

from typing import Any

from pydantic import BaseModel

from tunix_rt.base.errors import Problem
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import judges


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


def _view(name: str, settings: Settings) -> JudgeView:
    try:
        kind = judges.kind(name)
    except Problem as problem:
        return JudgeView(name=name, description=None, parameters={}, problem=problem.detail, hint=problem.hint)
    parameters = {
        key: JudgeParameter(default=one.default, description=one.description)
        for key, one in kind.parameters.model_fields.items()
    }
    found = JudgeView(name=name, description=kind.description, parameters=parameters)
    try:
        judge = judges.named(name, settings)
    except Problem as problem:
        return found.model_copy(update={"problem": problem.detail, "hint": problem.hint})
    return found.model_copy(update={"version": judge.version, "digest": judge.digest})
