"""The trace, version 1.0: its fields and their limits (`spec/formats.md`)."""

import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from tunix_rt.base.errors import nearest

MAX_META_BYTES = 64 * 2**10
MAX_SOURCE = 200
NO_SOURCE = "none"
"""Stands for traces without a source wherever a source is named; no source has this name."""
MAX_I = 2**53 - 1  # the largest integer that canonical JSON (RFC 8785) can hold

ODD_NUMBER = re.compile(rb"[:,\[]-?[0-9]+(?:[.eE]|[0-9]{15})")
"""Finds every number in JSON that is a float or long, and now and then a text that looks like one."""


def _small(meta: dict[str, Any] | None) -> dict[str, Any] | None:
    _dumped(meta)
    return meta


def _dumped(meta: dict[str, Any] | None) -> bytes:
    dumped = orjson.dumps(meta) if meta else b""
    if len(dumped) > MAX_META_BYTES:
        raise PydanticCustomError(
            "meta_too_large",
            "is {size} bytes as JSON; at most {limit} are allowed",
            {"size": len(dumped), "limit": MAX_META_BYTES},
        )
    return dumped


def _exact(meta: dict[str, Any] | None) -> dict[str, Any] | None:
    if not ODD_NUMBER.search(_dumped(meta)):
        return meta
    stack: list[Any] = [meta]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, int | float) and abs(value) > MAX_I:
            raise PydanticCustomError(
                "inexact_number",
                "holds the number {number}, past 2^53 - 1, which canonical JSON cannot hold; write it as a text",
                {"number": value},
            )
    return meta


def _source_fits(meta: dict[str, Any] | None) -> dict[str, Any] | None:
    source = (meta or {}).get("source")
    if isinstance(source, str) and len(source) > MAX_SOURCE:
        raise _at(
            ("source",),
            "string_too_long",
            f"String should have at most {MAX_SOURCE} characters, since it names a source",
        )
    return meta


def _at(place: tuple[int | str, ...], kind: str, why: str) -> ValidationError:
    """An error deeper than the value that is being checked."""
    error = PydanticCustomError(kind, "{why}", {"why": why})
    return ValidationError.from_exception_data("Trace", [InitErrorDetails(type=error, loc=place, input=None)])


class Step(BaseModel):
    """One step of the reasoning."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    i: Annotated[int, Field(ge=0, le=MAX_I, description="place in the order; unique within the trace")]
    type: Annotated[str, Field(min_length=1, max_length=64)]
    content: Annotated[str, Field(min_length=1, max_length=20_000)]
    meta: Annotated[dict[str, Any] | None, AfterValidator(_exact)] = Field(
        default=None, description="labels, calculations; part of the trace's identity"
    )


def _unique(steps: list[Step]) -> list[Step]:
    if len({step.i for step in steps}) == len(steps):
        return steps
    first: dict[int, int] = {}
    for place, step in enumerate(steps):
        if step.i in first:
            raise _at(
                (place, "i"),
                "repeated_step",
                f"the step number {step.i} stands twice (first at steps/{first[step.i]}); each step needs its own",
            )
        first[step.i] = place
    return steps


class TraceIn(BaseModel):
    """A trace as it comes in."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    trace_version: Literal["1.0"]
    prompt: Annotated[str, Field(min_length=1, max_length=50_000)]
    steps: Annotated[list[Step], Field(min_length=1, max_length=1_000), AfterValidator(_unique)]
    final_answer: Annotated[str, Field(min_length=1, max_length=50_000)]
    meta: Annotated[dict[str, Any] | None, AfterValidator(_small), AfterValidator(_source_fits)] = Field(
        default=None, description="whatever describes the trace, at most 64 KiB; not part of its identity"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest(cls, value: Any, handler: ModelWrapValidatorHandler["TraceIn"]) -> "TraceIn":
        # Done after the failure, since a check of every step's keys beforehand took a third of the time of an import.
        try:
            return handler(value)
        except ValidationError as error:
            found = error.errors(include_url=False)
            if all(item["type"] != "extra_forbidden" for item in found):
                raise
            unknown = [item for item in found if item["type"] == "extra_forbidden"]
            raise ValidationError.from_exception_data("Trace", [_unknown(item["loc"]) for item in unknown]) from None


def _unknown(place: tuple[int | str, ...]) -> InitErrorDetails:
    known = (TraceIn if len(place) == 1 else Step).model_fields
    said = f"unknown field.{nearest(str(place[-1]), known)}"
    return InitErrorDetails(type=PydanticCustomError("unknown_field", "{said}", {"said": said}), loc=place, input=None)
