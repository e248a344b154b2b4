"""Turns by the real scheduler, and what a first-in-first-out one would make of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from peerpost.node.session.turns import Dispatcher
from peerpost.protocol.limit import Limit, Rate
from peerpost.protocol.scheduler import Flow, Scheduler
from peerpost.wire.inner import Lane
from tests.support.fifo import Fifo


async def keep_sending(dispatcher: Dispatcher, flow: Flow, sent: Callable[[int], None]) -> None:
    while True:
        await dispatcher.turn(flow, 52_432)
        sent(52_432)
        await asyncio.sleep(0)


async def waits_of_texts(scheduler: Scheduler) -> float:
    """Return the worst wait of a text while files of 20 contacts go out under a limit."""
    dispatcher = Dispatcher(scheduler)
    everybody = Limit(Rate(bytes_s=10_000_000), time.monotonic_ns())
    total = 0

    def count(size: int) -> None:
        nonlocal total
        total += size

    files = [
        asyncio.create_task(keep_sending(dispatcher, dispatcher.add(Lane.BULK, everybody), count))
        for _ in range(20)
    ]
    text = dispatcher.add(Lane.URGENT, everybody)
    worst_s = 0.0
    await asyncio.sleep(0.1)
    for _ in range(20):
        started = time.monotonic()
        await dispatcher.turn(text, 200)
        worst_s = max(worst_s, time.monotonic() - started)
        dispatcher.release(text)
        await asyncio.sleep(0.01)
    for task in files:
        task.cancel()
    await asyncio.gather(*files, return_exceptions=True)
    assert total > 0
    return worst_s


@pytest.mark.slow
def test_a_text_does_not_wait_behind_files_and_behind_first_come_first_served_it_does() -> None:
    ours = asyncio.run(waits_of_texts(Scheduler()))
    fifo = asyncio.run(waits_of_texts(Fifo()))
    assert fifo > 0.08  # 20 frames of 52 kB at 10 MB/s are 105 ms
    assert ours < fifo / 2


@pytest.mark.parametrize("when", ["waiting", "granted"])
def test_a_cancelled_turn_goes_to_the_next(when: str) -> None:
    async def main() -> None:
        dispatcher = Dispatcher()
        first, second, third = (dispatcher.add(Lane.BULK, None) for _ in range(3))
        await dispatcher.turn(first, 100)
        waiting = asyncio.create_task(dispatcher.turn(second, 100))
        other = asyncio.create_task(dispatcher.turn(third, 100))
        await asyncio.sleep(0)
        if when == "granted":
            dispatcher.release(first)  # gives the turn to the second, whose task has not run yet
        waiting.cancel()
        dispatcher.release(first)
        async with asyncio.timeout(1):
            await other
        dispatcher.release(third)
        async with asyncio.timeout(1):
            await dispatcher.turn(first, 100)

    asyncio.run(main())


def test_one_flow_alone_is_never_made_to_wait() -> None:
    async def main() -> float:
        dispatcher = Dispatcher()
        flow = dispatcher.add(Lane.BULK, None)
        started = time.perf_counter()
        for _ in range(10_000):
            await dispatcher.turn(flow, 52_432)
        return (time.perf_counter() - started) / 10_000

    assert asyncio.run(main()) < 200e-6


def test_an_error_when_a_limit_is_due_ends_those_who_wait_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        dispatcher = Dispatcher()
        limit = Limit(Rate(bytes_s=1_000_000), time.monotonic_ns())
        flow, other = dispatcher.add(Lane.BULK, limit), dispatcher.add(Lane.BULK, limit)
        real = Scheduler.next

        def fails(*_: object) -> Flow | None:
            monkeypatch.setattr(Scheduler, "next", real)
            raise ZeroDivisionError

        for _ in range(100):
            await dispatcher.turn(flow, 52_432)
            dispatcher.release(flow)
            waiting = asyncio.create_task(dispatcher.turn(other, 52_432))
            await asyncio.sleep(0)
            if not waiting.done():
                break
            dispatcher.release(other)
        monkeypatch.setattr(Scheduler, "next", fails)
        async with asyncio.timeout(10):
            with pytest.raises(ZeroDivisionError):
                await waiting
            await dispatcher.turn(flow, 100)

    asyncio.run(main())
