"""Sources of traces: seeded generators, each with a verifier of every step.

A source is found by name through the entry points `tunix_rt.sources`, ours and a third party's alike, and imported
when it is asked for: a broken package breaks its own source and no other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from tunix_rt.base.errors import NotFound
from tunix_rt.base.plugins import Plugins

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


_SOURCES: Plugins[Source[Any]] = Plugins("source", Source, "tunix_rt.sources", NotFound)
names, load = _SOURCES.names, _SOURCES.load
