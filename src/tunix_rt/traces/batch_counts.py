"""Counts of a request that stores traces in batches, each in a transaction of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from tunix_rt.base.db import explain
from tunix_rt.base.errors import Problem, Stored
from tunix_rt.traces.intake import Inserted


@dataclass
class BatchCounts:
    """How many traces of a request are stored."""

    created: int = 0
    already_present: int = 0
    source_set: int = 0

    def add(self, size: int, inserted: Inserted) -> None:
        """Count a batch of `size` traces that was committed."""
        self.created += inserted.created
        self.already_present += size - inserted.created
        self.source_set += inserted.source_set

    @contextmanager
    def in_errors(self, request: str, missing: str = "rest") -> Iterator[None]:
        """Add the counts to every error raised in the block: its transaction is undone, earlier batches are not.

        Args:
            request: what the user did, in a word: `import`.
            missing: what is not stored; `rest`: further traces, which the same request again would store.

        Raises:
            Problem: the block's own or what the database's error means, with the counts where a batch was stored.
        """
        try:
            yield
        except DBAPIError as error:
            problem = explain(error)
            self._add_to(problem, request, missing)
            raise problem from error
        except Problem as problem:
            self._add_to(problem, request, missing)
            raise

    def _add_to(self, problem: Problem, request: str, missing: str) -> None:
        total = self.created + self.already_present
        if total == 0 or problem.stored is not None:
            return
        problem.stored = Stored(self.created, self.already_present)
        subject = f"1 trace of this {request} is" if total == 1 else f"{total:,} traces of this {request} are"
        problem.detail += f" {subject} stored, the {missing} is not."
        if missing == "rest":
            repeat = f"Repeating the {request} continues: stored traces are recognised and skipped."
            problem.hint = f"{problem.hint} {repeat}" if problem.hint else repeat
