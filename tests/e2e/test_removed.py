"""A contact that is removed in the middle of a file: nothing of it stays on either side, and both can meet again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.nodes import Friend, content, meet, until

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc"),
]

SIZE = 6_000_000


async def _holds(friend: Friend) -> list[str]:
    """Return what of files the node has open, and what lies on the disk."""
    return _found(friend, await friend.node_pid())


def _found(friend: Friend, pid: int | None) -> list[str]:
    folders = [friend.home / name for name in ("blobs", "spool")]
    found = [str(path) for folder in folders for path in folder.iterdir()]
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            path = fd.readlink()
        except OSError:
            continue
        found += [f"open: {path}"] if path.parent in folders else []
    return found


async def test_a_contact_removed_in_the_middle_of_a_file(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("limits", "set", "--down", "300kB/s")
    await alice.queue_file("bob", "a", content(SIZE))

    async def in_the_middle() -> bool:
        rows = await bob.ask("transfers.list")
        return any(row["direction"] == "in" and 0 < row["done_bytes"] < SIZE for row in rows)

    await until(in_the_middle)
    assert await _holds(bob)
    await bob.cli("contacts", "remove", "alice", "--yes")
    assert await _holds(bob) == []
    assert await bob.ask("transfers.list") == []
    assert await bob.ask("queue.list") == []
    assert await _holds(alice)
    await alice.cli("contacts", "remove", "bob", "--yes")
    assert await _holds(alice) == []
    assert await alice.ask("transfers.list") == []
    await bob.cli("limits", "set", "--down", "off")
    await meet(bob, alice)
    await alice.delivered(await alice.queue_file("bob", "again", content(SIZE)))


async def test_who_was_removed_is_told_what_may_be_the_cause(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("contacts", "remove", "alice", "--yes")
    await alice.cli("send", "--contact", "bob", "are you there?")

    async def said() -> bool:
        shown = (await alice.cli("contacts", "show", "bob")).row
        return "removed or blocked us" in str(shown["last_error"])

    await until(said)
