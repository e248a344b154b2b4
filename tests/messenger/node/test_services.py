"""Where work is done that only computes, and what a thread holds meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from peerpost.node import services as module
from peerpost.node.services import Services


def services(threads: ThreadPoolExecutor) -> Services:
    fields: dict[str, Any] = dict.fromkeys(("home", "store", "settings", "events", "limits"))
    return Services(**fields, threads=threads)


@pytest.mark.parametrize(("processors", "on_the_loop"), [(1, True), (2, True), (3, False)])
def test_threads_compute_where_there_are_processors_for_them(
    monkeypatch: pytest.MonkeyPatch, processors: int, on_the_loop: bool
) -> None:
    monkeypatch.setattr(module, "PROCESSORS", processors)
    done: list[tuple[int, int, bool]] = []

    def work(part: slice) -> None:
        here = threading.current_thread() is threading.main_thread()
        done.append((part.start, part.stop, here))

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(services(threads).computed(work, 8, module.COMPUTED_BYTES // 3))
        assert asyncio.run(cast("Any", services(threads).in_thread(max, 1, 2))) == 2
    parts = [(0, 3), (3, 6), (6, 8)] if on_the_loop else [(0, 8)]
    assert done == [(*part, on_the_loop) for part in parts]


def test_what_is_computed_on_the_loop_leaves_it_a_turn_between_any_two_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PROCESSORS", 2)
    turns: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def turn() -> None:
            turns.append("turn")
            loop.call_soon(turn)

        loop.call_soon(turn)
        with ThreadPoolExecutor(1) as threads:
            several = services(threads)
            await asyncio.gather(
                *(
                    several.computed(lambda _: turns.append("part"), 4, module.COMPUTED_BYTES)
                    for _ in range(3)
                )
            )

    asyncio.run(run())
    assert turns.count("part") == 12
    assert "part part" not in " ".join(turns)


def test_a_descriptor_lasts_as_long_as_its_work_and_no_longer() -> None:
    """Also where who asked has left, before the work began or during it."""
    mine, other = os.pipe()
    begun, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def work(fd: int) -> int:
        seen.append(fd)
        begun.set()
        assert go_on.wait(20)
        return os.write(fd, b"x")

    def is_open(fd: int) -> bool:
        with contextlib.suppress(OSError):
            return os.fstat(fd).st_ino == os.fstat(mine).st_ino
        return False

    def copies() -> int:
        return sum(is_open(fd) for fd in range(256))

    async def run(threads: ThreadPoolExecutor) -> None:
        first = asyncio.ensure_future(services(threads).with_file(other, work))
        second = asyncio.ensure_future(services(threads).with_file(other, work))
        await asyncio.to_thread(begun.wait, 20)
        assert copies() == 4
        for one in (first, second):
            one.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert copies() == 3
        go_on.set()
        assert await services(threads).with_file(other, work) == 1
        assert copies() == 2

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(run(threads))
    assert len(seen) == 2
    assert os.read(mine, 9) == b"xx"
    os.close(mine)
    os.close(other)
