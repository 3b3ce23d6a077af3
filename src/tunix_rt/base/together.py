"""Asking once for all who ask the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """Shares the answer to a question among those who asked it before it was put.

    Whoever asks while the same question is being answered waits for the next answer, which is sought after they
    asked: so nobody is given an answer that is older than their question, and a hundred at once cost two.
    """

    def __init__(self) -> None:
        self._asked: dict[Hashable, asyncio.Task[T]] = {}
        self._waiting: dict[Hashable, asyncio.Task[T]] = {}

    async def ask(self, question: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer to `question`, found by `find`, which is called after this call began.

        Raises:
            Exception: what `find` raised, to all who shared it.
        """
        task = self._waiting.get(question)
        if task is None:
            task = asyncio.create_task(self._next(question, self._asked.get(question), find))
            self._waiting[question] = task
        return await asyncio.shield(task)

    async def _next(self, question: Hashable, before: "asyncio.Task[T] | None", find: Callable[[], Awaitable[T]]) -> T:
        if before is not None:
            await asyncio.wait({before})
        task = self._waiting.pop(question)
        self._asked[question] = task
        try:
            return await find()
        finally:
            if self._asked.get(question) is task:
                del self._asked[question]
