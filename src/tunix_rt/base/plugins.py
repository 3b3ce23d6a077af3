"""Parts that a package adds by an entry point: found by name, and imported when they are asked for.

A broken package breaks its own part and no other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, Protocol, TypeVar

from tunix_rt.base.errors import Conflict, Failed, Problem, cut, nearest


class Named(Protocol):
    """A part, which knows what it is called."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """All parts of one kind.

    Attributes:
        what: one of them, in a word: `source`.
        kind: their class.
        group: of the entry points.
        unknown: what is raised for a name that nobody provides.
        ours: values of entry points by name, of parts that come with us and are in no package's metadata.
    """

    what: str
    kind: type[T]
    group: str
    unknown: type[Problem]
    ours: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every part that is installed, sorted. None of them is imported."""
        return sorted({point.name for point in self._points()})

    def load(self, name: str) -> T:
        """Import a part.

        Raises:
            Problem: `unknown`: no package provides it.
            Conflict: several packages provide it.
            Failed: the package that provides it is broken.
        """
        found = [point for point in self._points() if point.name == name]
        if not found:
            raise self.unknown(
                f"No {self.what} named {cut(name, 60)!r}.{nearest(name, self.names())}",
                hint=f"A package adds a {self.what} by an entry point: see docs/{self.what}s.md.",
            )
        if len(found) > 1:
            packages = sorted(_package(point) for point in found)
            raise Conflict(
                f"The {self.what} {name!r} is provided {len(packages)} times: by {', '.join(packages)}.",
                hint="Uninstall all packages but one.",
            )
        return self._import(found[0])

    def _points(self) -> Iterator[EntryPoint]:
        for name, value in self.ours.items():
            yield EntryPoint(name, value, self.group)
        yield from entry_points(group=self.group)

    def _import(self, point: EntryPoint) -> T:
        place = f"The {self.what} {point.name!r} of {_package(point)} ({point.value})"
        hint = f"Update or uninstall the package; the other {self.what}s work without it."
        try:
            part = point.load()
        except Exception as error:  # a third party's code: anything may come
            raise Failed(f"{place} cannot be imported: {type(error).__name__}: {cut(str(error))}", hint=hint) from error
        if not isinstance(part, self.kind):
            wanted = f"{self.kind.__module__.removesuffix('.contract')}.{self.kind.__name__}"
            raise Failed(f"{place} is a {type(part).__name__}, not a {wanted}.", hint=hint)
        if part.name != point.name:
            raise Failed(f"{place} calls itself {cut(part.name)!r}: the two names must be equal.", hint=hint)
        return part


def _package(point: EntryPoint) -> str:
    return "Tunix RT itself" if point.dist is None else f"the package {point.dist.name} {point.dist.version}"
