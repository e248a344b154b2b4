"""A contact that is removed in the middle of a file: nothing of it stays on either side, and both can meet again."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
        return "removed or blocked you" in str(shown["last_error"])

    await until(said)


async def test_who_was_removed_sees_it_wherever_it_looks(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("contacts", "remove", "alice", "--yes")
    await _calls(alice)
    await until(lambda: _is(alice, "removed"))
    (listed,) = (await alice.cli("contacts", "list")).rows
    assert listed["state"] == "removed"
    for way in ("contacts add bob TICKET", "contacts invite bob"):
        assert way in listed["hint"], listed
    doctor = (await alice.cli("doctor", code=1)).rows
    (row,) = [row for row in doctor if row["check"] == "contact bob"]
    assert not row["ok"]
    assert "invite bob" in row["hint"]
    assert "removed" in row["found"]
    for options in ((), ("--quiet",)):
        sent = await alice.cli(*options, "send", "--contact", "bob", "are you there?")
        assert sent.row["state"] == "queued"
        assert "removed or blocked you" in sent.err
        assert "contacts invite bob" in sent.err
    queued = (await alice.cli("queue", "list")).rows
    assert all("removed or blocked you" in row["last_error"] for row in queued)

    # Over a restart of the node too, before anybody was called.
    await alice.cli("node", "stop")
    assert (await alice.cli("contacts", "list")).row["state"] == "removed"

    # A ticket, whoever gives it, makes it good again, and what was queued arrives.
    await meet(alice, bob)
    await until(lambda: _is(alice, "active"))
    for row in queued:
        await alice.delivered(row["id"])
    quiet = await alice.cli("--quiet", "send", "--contact", "bob", "there you are")
    assert quiet.err == ""


async def _calls(friend: Friend) -> None:
    """Have something to send, so that the contact is called now."""
    await friend.cli("send", "--contact", "bob", "one more thing")


async def _is(friend: Friend, state: str) -> bool:
    return bool((await friend.ask("contacts.list"))[0]["state"] == state)


async def test_sending_to_whom_the_ticket_never_reached_says_so(
    pair: tuple[Friend, Friend], friend: Callable[..., Friend]
) -> None:
    alice, _ = pair
    carol = friend("carol")
    await carol.start()
    await carol.create()
    ticket = (await carol.cli("contacts", "invite", "alice", "--expires", "3s")).row["ticket"]
    await carol.close()
    assert (await alice.cli("contacts", "add", "carol", ticket)).row["state"] == "pending"

    async def expired() -> bool:
        shown = await alice.ask("contacts.show", {"name": "carol"})
        return bool(shown["state"] == "expired")

    await until(expired)
    sent = await alice.cli("send", "--contact", "carol", "hello")
    assert sent.row["state"] == "queued"
    assert "the ticket expired" in sent.err
    assert "contacts add carol TICKET" in sent.err
