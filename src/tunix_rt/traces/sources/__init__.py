"""Sources of traces: seeded generators, each with a verifier of every step.

A source is found by name through the entry points `tunix_rt.sources`, ours and a third party's alike, and imported
when it is asked for: a broken package breaks its own source and no other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from tunix_rt.base.errors import Conflict, Failed, NotFound, cut, nearest

GROUP = "tunix_rt.sources"

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class Source(Generic[Options]):
    """A generator of traces and the verifier of what it makes.

    Attributes:
        name: the name of the entry point: what a user types.
        description: one sentence.
        options: the difficulty: a frozen model that refuses unknown keys and has a default for each field.
        generate: `(count, seed, options)` to `count` traces as in the spec, no prompt twice. The same arguments give
            the same bytes on every machine; fewer traces are the beginning of more. Raises BadInput when called,
            before the first trace, if there are not so many.
        verify: the problems of a trace, each naming its step; none when every step is right. Never raises, whatever
            it is given.
    """

    name: str
    description: str
    options: type[Options]
    generate: Callable[[int, int, Options], Iterator[dict[str, Any]]]
    verify: Callable[[dict[str, Any]], list[str]]


def names() -> list[str]:
    """Every source that is installed, sorted. None of them is imported."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(name: str) -> Source[Any]:
    """Import a source.

    Raises:
        NotFound: no package provides it.
        Conflict: several packages provide it.
        Failed: the package that provides it is broken.
    """
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise NotFound(
            f"No source named {cut(name)!r}.{nearest(name, names())}",
            hint="A package adds a source by an entry point: see docs/sources.md.",
        )
    if len(found) > 1:
        packages = sorted(_package(point) for point in found)
        raise Conflict(
            f"The source {name!r} is provided by {len(packages)} packages: {', '.join(packages)}.",
            hint="Uninstall all but one of them.",
        )
    return _import(found[0])


def _import(point: EntryPoint) -> Source[Any]:
    place = f"The source {point.name!r} of the package {_package(point)} ({point.value})"
    hint = "Update or uninstall the package; the other sources work without it."
    try:
        source = point.load()
    except Exception as error:  # a third party's code: anything may come
        raise Failed(f"{place} cannot be imported: {type(error).__name__}: {cut(str(error))}", hint=hint) from error
    if not isinstance(source, Source):
        raise Failed(f"{place} is a {type(source).__name__}, not a tunix_rt.traces.sources.Source.", hint=hint)
    if source.name != point.name:
        raise Failed(f"{place} calls itself {cut(source.name)!r}: the two names must be equal.", hint=hint)
    return source


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "without a name"
