"""Tasks with an owner: who waits for them waits for all."""

from __future__ import annotations

import asyncio

from peerpost.node.tasks import Tasks


def test_a_join_waits_for_what_the_joined_have_started() -> None:
    done: list[str] = []

    async def run() -> None:
        tasks = Tasks()

        async def leaf(depth: int) -> None:
            await asyncio.sleep(0)
            if depth:
                tasks.spawn(leaf(depth - 1), name="leaf")
            await asyncio.sleep(0)
            done.append(f"leaf {depth}")

        async def joins() -> None:
            await tasks.join()
            done.append("joined")

        tasks.spawn(leaf(3), name="first")
        await tasks.spawn(joins(), name="joins")
        assert len(tasks) == 0

    asyncio.run(run())
    assert done == ["leaf 3", "leaf 2", "leaf 1", "leaf 0", "joined"]
