"""Where work is done that only computes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from peerpost.node import services as module
from peerpost.node.services import Services


def services(threads: ThreadPoolExecutor) -> Services:
    fields: dict[str, Any] = dict.fromkeys(("home", "store", "config", "events", "limits"))
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
