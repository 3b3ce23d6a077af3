"""Errors as part of the product: what happened, where, and what mends it.

Raised where the cause is known and turned into an HTTP answer (`base.http`) or an exit code (`cli.main`) in one
place each. Nobody reads their text: the class says what kind it is.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One wrong place in the caller's input.

    Attributes:
        pointer: where: a JSON pointer (`/7/steps/0/content`), a query parameter, or `file:line`.
        detail: what is wrong there.
    """

    pointer: str
    detail: str


@dataclass(frozen=True)
class Stored:
    """What a request that commits in batches had stored when it failed.

    Attributes:
        created: items that are new.
        already_present: items that were there before.
    """

    created: int
    already_present: int


class Problem(Exception):
    """Base of every error that a user may see.

    Args:
        detail: what was asked, what was found.
        hint: what to do about it; the command that mends it where there is one.
        faults: the wrong places, where the input has several.

    Attributes:
        stored: what is stored nevertheless; None: nothing, or the request does not commit in batches.
    """

    code = "failed"
    title = "Failed"
    status = 500
    exit_code = 1

    def __init__(self, detail: str, *, hint: str | None = None, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.faults = tuple(faults)
        self.stored: Stored | None = None


class BadInput(Problem):
    """The content is wrong: a line that does not parse, a value out of range, rows that cannot be trained."""

    code, title, status = "bad_input", "Invalid input", 422


class WrongUsage(Problem):
    """The call itself is wrong: an unknown option, two options that exclude each other."""

    code, title, status, exit_code = "wrong_usage", "Wrong usage", 422, 2


class CrossOrigin(Problem):
    """A page of another origin tried to change something."""

    code, title, status = "cross_origin", "Cross-origin request", 403


class UnknownHost(Problem):
    """The `Host` of the request is not allowed."""

    code, title, status = "unknown_host", "Unknown host", 421


class NotFound(Problem):
    """What was named does not exist."""

    code, title, status, exit_code = "not_found", "Not found", 404, 3


class Conflict(Problem):
    """What was asked contradicts what is stored."""

    code, title, status, exit_code = "conflict", "Conflict", 409, 4


class TooLarge(Problem):
    """A body over the limit."""

    code, title, status = "too_large", "Too large", 413


class NoSuchRange(Problem):
    """A part of a file was asked for that lies beyond its end."""

    code, title, status = "no_such_range", "Range not satisfiable", 416


class MissingExtra(Problem):
    """An optional part is not installed; never replaced by something else."""

    code, title, status = "missing_extra", "Not installed", 501


class DiskFull(Problem):
    """No space left where we write. What was stored before is whole."""

    code, title, status = "disk_full", "No space left", 507


class DoesNotFit(Problem):
    """A training needs more memory than its device has free."""

    code, title, status = "does_not_fit", "Not enough memory", 422


class Unavailable(Problem):
    """Something that we need does not answer: the database, a server."""

    code, title, status = "unavailable", "Unavailable", 503


class Failed(Problem):
    """The work was started and failed for a reason that we can name."""


def cut(text: str, limit: int = 200) -> str:
    """Shorten an echo of the caller's input to at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the nearest known word and list all: the tail of an error about an unknown name.

    Returns:
        ` Did you mean 'exact'? We have: exact, numeric.`, with a leading space, or without the question when
        nothing is near.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    question = f" Did you mean {near[0]!r}?" if near else ""
    return f"{question} We have: {', '.join(names) or 'none'}."
