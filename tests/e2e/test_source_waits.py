"""A file whose source cannot be read for now: the sender says so, tries again, and it arrives.

The node of the sender is left without a descriptor when the file is asked for, as on a machine where something else
has them all.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.connection import NodeConnection, dial
from tests.support.nodes import Friend, content, meet, until

resource = pytest.importorskip("resource")
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process"),
]

DATA = content(300_000)


async def asked_about(friend: Callable[..., Friend]) -> tuple[Friend, Friend, str]:
    """Have Alice offer a file that is read where it lies, and Bob asked whether he wants it; return its entry too."""
    alice, bob = friend("alice"), friend("bob")
    config = alice.home / "config.toml"
    config.write_text(
        config.read_text().replace("min_free = 0", "min_free = 0\nspool_below = 1000")
    )
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    await bob.ask("contacts.edit", {"name": "alice", "accept": "ask"})
    entry = await alice.queue_file("bob", "a.bin", DATA)

    async def asks() -> bool:
        return [row["state"] for row in await bob.ask("transfers.list")] == ["asking"]

    await until(asks)
    return alice, bob, entry


def warm(connection: NodeConnection) -> None:
    """Have all that the node opens when it is first asked, as its readers of the store."""
    wanted = {connection.begin("queue.list") for _ in range(16)}
    for id_, kind, _ in connection.answers():
        assert kind == "result"
        wanted.discard(id_)
        if not wanted:
            return


def take_descriptors(pid: int) -> tuple[int, int]:
    """Let a process open nothing more; return the limits that it had."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    lowest = next(number for number in range(len(used) + 1) if number not in used)
    before: tuple[int, int] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    return before


async def test_without_descriptors_it_waits_and_then_arrives(friend: Callable[..., Friend]) -> None:
    alice, bob, entry = await asked_about(friend)
    pid = await alice.node_pid()
    assert pid is not None
    # Opened before there is no descriptor left for it.
    connection = await asyncio.to_thread(dial, alice.home)
    assert connection is not None
    with connection:
        await asyncio.to_thread(warm, connection)

        async def shown(method: str) -> Any:
            return await asyncio.to_thread(
                functools.partial(connection.call, method, {"id": entry})
            )

        before = take_descriptors(pid)
        try:
            (offered,) = await bob.ask("transfers.list")
            await bob.ask("transfers.accept", {"id": offered["id"]})

            async def paused() -> bool:
                return bool((await shown("transfers.show"))["state"] == "paused")

            await until(paused)
            assert "Too many open files" in (await shown("transfers.show"))["error"]
            queued = await shown("queue.show")
            assert queued["state"] == "sent"
            assert queued["last_error"].startswith("paused: ")
            assert "Too many open files" in queued["last_error"]
            (waits,) = await bob.ask("transfers.list")
            assert waits["state"] == "paused"
            assert "/" not in waits["error"], "where it lies is none of the receiver's business"
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await alice.delivered(entry)
    (item,) = await bob.ask("inbox.list")
    assert await bob.saved(item["id"]) == DATA
