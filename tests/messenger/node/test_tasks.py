"""Tasks with an owner: who waits for them waits for all, and none of them ends in silence."""

from __future__ import annotations

import asyncio

import pytest

from peerpost.node.duties import Duties
from peerpost.node.tasks import EndsOwner, Tasks

NOTHING = EndsOwner(lambda _: None)


def test_a_join_waits_for_what_the_joined_have_started() -> None:
    done: list[str] = []

    async def run() -> None:
        tasks = Tasks()

        async def leaf(depth: int) -> None:
            await asyncio.sleep(0)
            if depth:
                tasks.spawn(leaf(depth - 1), name="leaf", on_failure=NOTHING)
            await asyncio.sleep(0)
            done.append(f"leaf {depth}")

        async def joins() -> None:
            await tasks.join()
            done.append("joined")

        tasks.spawn(leaf(3), name="first", on_failure=NOTHING)
        await tasks.spawn(joins(), name="joins", on_failure=NOTHING)
        assert len(tasks) == 0

    asyncio.run(run())
    assert done == ["leaf 3", "leaf 2", "leaf 1", "leaf 0", "joined"]


async def fails() -> None:
    raise ZeroDivisionError


def test_a_failure_ends_the_owner() -> None:
    async def run() -> None:
        ended: list[BaseException] = []
        tasks = Tasks()
        tasks.spawn(fails(), name="a task", on_failure=EndsOwner(ended.append))
        await tasks.join()
        await asyncio.sleep(0)
        assert [type(error) for error in ended] == [ZeroDivisionError]

    asyncio.run(run())


def test_what_is_stopped_has_not_failed() -> None:
    async def run() -> None:
        ended: list[BaseException] = []
        tasks = Tasks()
        tasks.spawn(asyncio.sleep(60), name="a task", on_failure=EndsOwner(ended.append))
        await asyncio.sleep(0)
        await tasks.stop()
        assert not ended
        assert not len(tasks)

    asyncio.run(run())


def test_a_kept_task_begins_again_and_what_cannot_ends_the_node() -> None:
    async def run() -> None:
        lost: list[BaseException] = []
        calls: list[int] = []

        async def no_wait(_wait_s: float) -> None:
            await asyncio.sleep(0)
            if len(calls) > 3:
                raise MemoryError

        async def work() -> None:
            calls.append(len(calls))
            raise KeyError("x")

        tasks, duties = Tasks(), Duties(sleep=no_wait, on_lost=lost.append)
        tasks.keep("a duty", work, duties)
        await tasks.join()
        await asyncio.sleep(0)
        assert len(calls) == 4
        assert [type(error) for error in lost] == [MemoryError]

    asyncio.run(run())


def test_nobody_begins_a_task_without_saying_what_its_failure_means() -> None:
    async def run() -> None:
        coroutine = fails()
        with pytest.raises(TypeError, match="on_failure"):
            Tasks().spawn(coroutine, name="a task")  # type: ignore[call-arg]
        coroutine.close()

    asyncio.run(run())
