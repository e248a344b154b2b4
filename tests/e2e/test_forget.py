"""A contact removed with its history: nothing that was written or called so is left, and both can meet again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio


def blobs(friend: Friend) -> list[Path]:
    """Return what of files lies in a home."""
    return [path for name in ("blobs", "spool") for path in (friend.home / name).iterdir()]


async def talked(alice: Friend, bob: Friend) -> None:
    """Have a text and a file go either way."""
    for one, other in ((alice, bob), (bob, alice)):
        await one.cli("send", "-c", other.name, "--wait", f"a secret of {one.name}")
        await one.delivered(await one.queue_file(other.name, f"of-{one.name}", content(100_000)))

    async def all_there() -> bool:
        rows = [await one.ask("inbox.list", {}) for one in (alice, bob)]
        return all(len(found) == 2 for found in rows)

    await until(all_there)


@pytest.mark.parametrize("before", [False, True])
async def test_a_contact_is_forgotten_with_its_history(
    pair: tuple[Friend, Friend], *, before: bool
) -> None:
    alice, bob = pair
    await talked(alice, bob)
    assert blobs(alice)
    if before:
        await alice.cli("contacts", "remove", "bob", "--yes")
        assert len((await alice.cli("inbox", "list")).rows) == 2
    refused = await alice.cli("contacts", "remove", "bob", "--forget", code=2)
    assert "all that was sent and received" in refused.error["message"]
    gone = (await alice.cli("contacts", "remove", "bob", "--forget", "--yes")).row
    assert gone["name"] == "bob"
    for command in ("inbox", "sent", "queue", "transfers", "contacts"):
        assert (await alice.cli(command, "list")).rows == [], command
    assert blobs(alice) == []
    again = await alice.cli("contacts", "remove", "bob", "--forget", "--yes", code=67)
    assert again.error["code"] == "not_found"
    await alice.stop()
    await alice.start()
    assert (await alice.cli("sent", "list")).rows == []
    # Met again, what is new arrives, and nothing of what is forgotten comes back.
    await meet(bob, alice)
    await bob.delivered(
        (await bob.ask("send-net", {"contact": "alice", "text": "hello again"}))["id"]
    )
    await alice.delivered((await alice.ask("send-net", {"contact": "bob", "text": "hello"}))["id"])
    await alice.delivered(await alice.queue_file("bob", "new", content(100_000, seed=3)))
    assert await alice.texts() == ["hello again"]
    assert [row["preview"] for row in (await alice.cli("sent", "list")).rows] == ["new", "hello"]
    assert len(await bob.texts()) == 4


async def test_without_it_the_history_stays(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await talked(alice, bob)
    await alice.cli("contacts", "remove", "bob", "--yes")
    rows = await asyncio.gather(*(alice.cli(what, "list") for what in ("inbox", "sent")))
    assert [len(found.rows) for found in rows] == [2, 2]
