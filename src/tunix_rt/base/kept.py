"""What was found at some cost and stays true, kept for the next who asks, up to a weight."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Answers to questions whose answers never change; those that were not asked for longest go first.

    Who asks while an answer is being found waits for it: it is found once.

    Args:
        limit: of the weights of all answers together; the newest is kept whatever it weighs.
        weight: of an answer.
    """

    def __init__(self, limit: int, weight: Callable[[T], int]) -> None:
        self._limit = limit
        self._weight = weight
        self._answers: OrderedDict[Hashable, T] = OrderedDict()
        self._held = 0
        self._finding: dict[Hashable, asyncio.Task[T]] = {}

    async def ask(self, question: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer to `question`, found by `find` where it is not there.

        Raises:
            Exception: what `find` raised, to all who waited for it; nothing is kept then.
        """
        if question in self._answers:
            self._answers.move_to_end(question)
            return self._answers[question]
        task = self._finding.get(question)
        if task is None:
            task = asyncio.create_task(self._find(question, find))
            self._finding[question] = task
        return await asyncio.shield(task)

    async def _find(self, question: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await find()
        finally:
            del self._finding[question]
        self._answers[question] = answer
        self._held += self._weight(answer)
        while self._held > self._limit and len(self._answers) > 1:
            _, oldest = self._answers.popitem(last=False)
            self._held -= self._weight(oldest)
        return answer
