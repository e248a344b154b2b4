"""`changes.watch` by `peerpost rpc`: what becomes of messages and files, over the ends of program and node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.nodes import WAIT_S, Friend, content

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


class Program:
    """A program with `peerpost rpc` as a child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, id_: int, method: str, **params: Any) -> None:
        assert self._process.stdin is not None
        request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def changes_until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Return the changes up to one that is wanted."""
        found: list[dict[str, Any]] = []
        while not found or not wanted(found[-1]):
            event = (await self.hear())["params"]["event"]
            found += [event["change"]] if "change" in event else []
        return found


@asynccontextmanager
async def program(of: Friend) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(of.home), "rpc"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def delivered(id_: str) -> Callable[[dict[str, Any]], bool]:
    return lambda change: (change["id"], change["state"]) == (id_, "delivered")


async def test_a_program_that_was_away_is_told_what_it_has_missed(
    pair: tuple[Friend, Friend],
) -> None:
    alice, _ = pair
    async with program(alice) as first:
        await first.ask(1, "changes.watch", kinds=["sent"])
        assert set((await first.hear())["params"]["event"]) == {"after"}
        one = (await alice.cli("send", "--contact", "bob", "one")).row["id"]
        seen = await first.changes_until(delivered(one))
        assert seen[0]["was"] is None
        assert {change["kind"] for change in seen} == {"sent"}
    # It is gone, and so is the node, killed.
    two = (await alice.cli("send", "--contact", "bob", "two")).row["id"]
    await alice.delivered(two)
    file = await alice.queue_file("bob", "a.bin", content(300_000))
    await alice.delivered(file)
    await alice.kill()
    await alice.start()
    async with program(alice) as second:
        await second.ask(7, "changes.watch", after=seen[-1]["cursor"])
        assert (await second.hear())["params"]["event"] == {"after": seen[-1]["cursor"]}
        missed = await second.changes_until(delivered(file))
        states = [(change["id"], change["state"]) for change in missed if change["kind"] == "sent"]
        assert states.count((two, "delivered")) == states.count((file, "delivered")) == 1
        assert one not in {change["id"] for change in missed}
        moved = [c["state"] for c in missed if (c["kind"], c["direction"]) == ("transfers", "out")]
        assert moved[0] == "offered"
        # What is wrong is an answer, and keeps nothing else up.
        await second.ask(8, "changes.watch", after="7-00000000")
        while (answer := await second.hear()).get("id") != 8:
            pass
        assert answer["error"]["data"]["code"] == "bad_input"
        await alice.cli("contacts", "edit", "bob", "--note", "hello")
        told = await second.changes_until(lambda change: change["kind"] == "contacts")
        assert (told[-1]["what"], told[-1]["contact"]) == ("edited", "bob")


async def test_a_watch_alone_keeps_neither_the_command_nor_the_node_going(
    pair: tuple[Friend, Friend],
) -> None:
    alice, _ = pair
    asked = {"jsonrpc": "2.0", "id": 1, "method": "changes.watch", "params": {"after": "0"}}
    done = await alice.cli("rpc", stdin=json.dumps(asked).encode())
    assert all(row["method"] == "changes.watch.event" for row in done.rows)
    async with program(alice) as watching:
        await watching.ask(1, "changes.watch")
        await watching.hear()
        await alice.cli("node", "stop")
        assert (await watching.hear())["error"]["data"]["code"] == "unavailable"
