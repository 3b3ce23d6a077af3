"""What is kept for the next who asks."""

import asyncio

import pytest

from tunix_rt.base.kept import Kept


async def test_an_answer_is_found_once_however_many_ask() -> None:
    kept, asked = Kept[str](10, len), 0

    async def find() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return "yes"

    assert await asyncio.gather(*(kept.ask("?", find) for _ in range(5))) == ["yes"] * 5
    assert await kept.ask("?", find) == "yes"
    assert asked == 1


async def test_what_was_not_asked_for_longest_goes_first() -> None:
    kept, found = Kept[str](4, len), list[str]()

    async def ask(question: str) -> None:
        async def find() -> str:
            found.append(question)
            return question

        assert await kept.ask(question, find) == question

    for question in ("aa", "bb", "aa", "cc", "aa", "bb", "too long", "too long"):
        await ask(question)
    assert found == ["aa", "bb", "cc", "bb", "too long"]


async def test_a_failure_is_told_and_not_kept() -> None:
    kept = Kept[int](10, int)

    async def fail() -> int:
        raise ZeroDivisionError

    async def find() -> int:
        return 1

    with pytest.raises(ZeroDivisionError):
        await kept.ask("?", fail)
    assert await kept.ask("?", find) == 1


async def test_who_waits_no_longer_does_not_stop_the_others() -> None:
    kept, go = Kept[int](10, int), asyncio.Event()

    async def find() -> int:
        await go.wait()
        return 1

    first, second = (asyncio.create_task(kept.ask("?", find)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == 1
