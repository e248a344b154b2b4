"""Coroutines beside each other: which end counts, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from peerpost.node.session.together import unless_fails

pytestmark = pytest.mark.asyncio


async def ends() -> None:
    pass


async def fails(why: str) -> str:
    raise ValueError(why)


async def watch_fails(why: str) -> None:
    raise ValueError(why)


async def works() -> str:
    await asyncio.sleep(0)
    return "done"


async def test_the_mere_end_of_the_watch_matters_to_nobody() -> None:
    assert await unless_fails(ends(), works()) == "done"


async def forever(ended: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


async def test_a_watch_that_fails_ends_the_work() -> None:
    ended = asyncio.Event()
    with pytest.raises(ValueError, match="refused"):
        await unless_fails(watch_fails("refused"), forever(ended))
    assert ended.is_set()


async def test_what_the_watch_says_comes_before_the_failure_that_follows_from_it() -> None:
    with pytest.raises(ValueError, match="refused"):
        await unless_fails(watch_fails("refused"), fails("closed"))


async def test_work_that_fails_ends_the_watch() -> None:
    ended = asyncio.Event()
    with pytest.raises(ValueError, match="closed"):
        await unless_fails(forever(ended), fails("closed"))
    assert ended.is_set()


async def test_work_that_came_to_its_end_counts_although_the_watch_failed_at_once() -> None:
    async def at_once() -> str:
        return "done"

    assert await unless_fails(watch_fails("refused"), at_once()) == "done"


class _Held:
    pass


async def test_what_failed_is_freed_without_the_collector() -> None:
    held: list[weakref.ref[_Held]] = []

    async def fails_holding() -> None:
        thing = _Held()
        held.append(weakref.ref(thing))
        await asyncio.sleep(0)
        raise ValueError("closed")

    async def once() -> None:
        with pytest.raises(ValueError, match="closed"):
            await unless_fails(asyncio.Event().wait(), fails_holding())  # type: ignore[arg-type]

    gc.collect()
    gc.disable()
    try:
        await once()
        await asyncio.sleep(0)
        assert held[0]() is None
    finally:
        gc.enable()
