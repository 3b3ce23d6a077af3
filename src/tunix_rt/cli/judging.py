"""Judgings that a server's worker does, waited for from the command line."""

import asyncio
from typing import Any

import httpx

from tunix_rt.base.errors import Failed
from tunix_rt.cli import door, show

LOOK_SECONDS = 0.5


def mode(url: str | None, judge: str | None) -> dict[str, str]:
    """How to ask: a server's worker waits for a judge that asks somebody else; without a server we wait ourselves."""
    return {"mode": "async"} if url is not None and (judge or "").partition(":")[0] == "llm" else {}


async def check(api: httpx.AsyncClient, judge: str | None) -> None:
    """Have a judge that cannot be had refused before anything is uploaded for it.

    Raises:
        Problem: as the server says; MissingExtra where a library is not installed there.
    """
    if judge is not None:
        await door.call(api, "GET", f"/api/judges/{door.quote(judge)}")


async def awaited(api: httpx.AsyncClient, found: dict[str, Any]) -> dict[str, Any]:
    """The evaluation that a request to judge came to, waited for where a worker makes it.

    Raises:
        Failed: the judging failed; nothing was stored.
    """
    if "job" not in found:
        return found
    place, told = f"/api/judgings/{found['job']}", None
    show.say(f"A worker judges {found['n']:,} outputs; it goes on if you leave: {place}")
    with show.progress() as bar:
        task = bar.add_task("judging", total=found["n"], note="")
        while found["state"] in ("pending", "running"):
            await asyncio.sleep(LOOK_SECONDS)
            found = await door.call(api, "GET", place)
            bar.update(task, completed=found["n_judged"], note="waiting" if found["state"] == "pending" else "")
            if found["reason"] not in (None, told):
                told = found["reason"]
                show.say(f"The last attempt: {told}")
    if found["evaluation_id"] is None:
        raise Failed(f"The judging has {found['state']}: {found['reason']}", hint="Nothing was stored; judge again.")
    made: dict[str, Any] = await door.call(api, "GET", f"/api/evaluations/{found['evaluation_id']}")
    return made
