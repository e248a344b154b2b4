"""Requests that are answered by a future: together, with bounds, and cancelled with their client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from peerpost.client.rpc import Request
from peerpost.errors import NotFoundError, UsageError
from peerpost.node.control.caller import MAX_REQUESTS
from peerpost.node.control.server import ControlServer


class Asked:
    """A client of a server whose answers the test gives."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[object]] = []
        self.server: ControlServer
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def handle(self, request: Request) -> asyncio.Future[object]:
        if request.method == "refused":
            raise UsageError("before anything was awaited")
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    async def ask(self, count: int, method: str = "ask") -> None:
        """Ask `count` times, and come back when all that can begin has begun."""
        lines = [json.dumps({"id": id_, "method": method}) for id_ in range(count)]
        self.writer.write("\n".join([*lines, ""]).encode())
        await asyncio.sleep(0.2)

    async def answers(self, count: int) -> dict[int, dict[str, Any]]:
        found = [json.loads(await self.reader.readline()) for _ in range(count)]
        return {answer["id"]: answer for answer in found}


@asynccontextmanager
async def asked(home: Path) -> AsyncIterator[Asked]:
    it = Asked()
    it.server = ControlServer(home / "control.sock", it.handle)
    await it.server.start()
    it.reader, it.writer = await asyncio.open_unix_connection(it.server.path, limit=1 << 24)
    try:
        async with asyncio.timeout(20):
            yield it
    finally:
        it.writer.close()
        await it.server.stop(0.2)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_each_is_answered_when_it_is_done(tmp_path: Path) -> None:
    async def run() -> None:
        async with asked(tmp_path) as it:
            await it.ask(3)
            it.futures[2].set_result("c")
            it.futures[0].set_exception(NotFoundError("gone"))
            it.futures[1].set_result(object())  # No JSON can say that.
            found = await it.answers(3)
            assert it.server.requests == 0
        assert found[2]["result"] == "c"
        assert found[0]["error"]["message"] == "gone"
        assert found[1]["error"]["code"] == -32603

    asyncio.run(run())


def test_what_is_refused_at_once_is_answered(tmp_path: Path) -> None:
    async def run() -> None:
        async with asked(tmp_path) as it:
            await it.ask(1, "refused")
            assert (await it.answers(1))[0]["error"]["message"] == "before anything was awaited"

    asyncio.run(run())


def test_a_client_that_leaves_cancels_what_it_waits_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with asked(tmp_path) as it:
            await it.ask(1)
            it.writer.close()
            await until(it.futures[0].cancelled)

    asyncio.run(run())


def test_no_more_begins_while_answers_are_left_unread(tmp_path: Path) -> None:
    async def run() -> None:
        async with asked(tmp_path) as it:
            it.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await it.ask(MAX_REQUESTS + 1)
            assert len(it.futures) == MAX_REQUESTS
            for future in it.futures:
                future.set_result("x" * 100_000)
            await asyncio.sleep(0.2)
            # The first ones found room in what may be unsent; each of the others keeps its place.
            assert it.server.requests >= MAX_REQUESTS - 1
            it.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert len(await it.answers(MAX_REQUESTS)) == MAX_REQUESTS
            await until(lambda: len(it.futures) == MAX_REQUESTS + 1)

    asyncio.run(run())
