"""`send --wait`: without a time for as long as something moves, and with one exactly so long."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.nodes import Friend, content, until

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

RATE_BYTES_S = 60_000
SIZE = 45 * RATE_BYTES_S
DEFAULT_S = 30


def slow_down(pair: tuple[Friend, Friend], rate_bytes_s: int) -> None:
    for one in pair:
        one.link.faults.rate_bytes_s = rate_bytes_s


async def test_files_that_move_are_waited_for(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    slow_down(pair, RATE_BYTES_S)
    for name, size in (("first", SIZE), ("second", 1000)):
        (alice.home.parent / name).write_bytes(content(size))
    paths = [str(alice.home.parent / name) for name in ("first", "second")]
    began_s = time.monotonic()
    waits = asyncio.create_task(alice.cli("send", "-c", "bob", "--wait", "--file", *paths))

    async def under_way() -> bool:
        return any(row["progress"] for row in await alice.ask("queue.list"))

    await until(under_way)
    # A time that is given holds, whatever moves.
    short = await alice.cli(
        "send", "-c", "bob", "--wait", "--timeout", "1s", "--file", paths[0], code=75
    )
    assert "within 1 s" in short.error["message"]
    await alice.cli("queue", "cancel", short.rows[0]["id"])
    done = await waits
    assert time.monotonic() - began_s > DEFAULT_S, "it was to take longer than the default"
    assert [row["state"] for row in done.rows].count("delivered") == 2
    assert len(await bob.ask("inbox.list", {})) == 2


async def test_a_file_that_does_not_move_is_not(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("contacts", "edit", "alice", "--accept", "1kB")
    (alice.home.parent / "asks").write_bytes(content(2000))
    began_s = time.monotonic()
    waits = asyncio.create_task(
        alice.cli("send", "-c", "bob", "--wait", "--file", f"{alice.home.parent}/asks", code=75)
    )
    while not waits.done():
        # Other things that go to the contact are no progress of this one.
        await alice.cli("send", "-c", "bob", "--lane", "bulk", "beside it")
        await asyncio.wait([waits], timeout=3)
    assert DEFAULT_S <= time.monotonic() - began_s < 2 * DEFAULT_S
    assert "asking:" in (await waits).error["message"]
    assert "when nothing of it has moved for 30 s" in (await waits).error["message"]
