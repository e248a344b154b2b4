"""`node sync`: for a machine that is seldom on, all that can be done in one command."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Friend, content, processes_in, until

pytestmark = pytest.mark.asyncio

SIZE = 3_000_000


def row_of(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (row,) = [row for row in rows if row["name"] == name]
    return {key: value for key, value in row.items() if key not in ("id", "name")}


def nodes_of(friend: Friend) -> list[str]:
    return [command for _, command in processes_in(friend.home)]


async def test_it_delivers_and_fetches_and_its_node_leaves(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.stop()
    texts = [(await alice.cli("send", "-c", "bob", f"text {number}")).row for number in range(3)]
    file = await alice.queue_file("bob", "to bob", content(SIZE))
    # While she is away, since the node that this command starts would deliver it.
    await alice.stop()
    await bob.cli("send", "-c", "alice", "for alice")
    await bob.cli("node", "stop")
    assert nodes_of(bob) == []
    await alice.start()
    done = await bob.cli("node", "sync")
    assert row_of(done.rows, "alice") == {
        "reached": True, "delivered": 1, "received": 4, "queued": 0, "error": None,
    }  # fmt: skip
    assert nodes_of(bob) == []
    for id_ in (*(row["id"] for row in texts), file):
        assert (await alice.ask("sent.show", {"id": id_}))["state"] == "delivered"
    assert await alice.texts() == ["for alice"]
    # Nothing to do is done at once.
    done = await bob.cli("node", "sync")
    assert row_of(done.rows, "alice")["received"] == 0


async def test_a_node_that_ran_stays_and_who_is_away_is_not_waited_for(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    assert row_of((await bob.cli("node", "sync")).rows, "alice")["reached"]
    await alice.stop()
    await bob.cli("send", "-c", "alice", "waits")
    row = row_of((await bob.cli("node", "sync")).rows, "alice")
    assert (row["reached"], row["delivered"], row["queued"]) == (False, 0, 1)
    assert row["error"]
    assert (await bob.ask("node.status"))["state"] == "running"
    await bob.stop()
    # Nor by one that it started, though something is queued.
    row = row_of((await bob.cli("node", "sync")).rows, "alice")
    assert (row["reached"], row["queued"]) == (False, 1)
    assert nodes_of(bob) == []
    await alice.start()
    row = row_of((await bob.cli("node", "sync")).rows, "alice")
    assert (row["reached"], row["delivered"], row["queued"]) == (True, 1, 0)


async def test_a_file_that_asks_is_not_waited_for(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await alice.cli("contacts", "edit", "bob", "--accept", "ask")
    await bob.queue_file("alice", "large", content(200_000))
    row = row_of((await bob.cli("node", "sync")).rows, "alice")
    assert (row["reached"], row["delivered"], row["queued"]) == (True, 0, 1)
    # On her side it waits too.
    row = row_of((await alice.cli("node", "sync")).rows, "bob")
    assert (row["reached"], row["received"], row["error"]) == (True, 0, None)


async def test_it_ends_in_time_and_says_so(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("limits", "set", "--up", "100kB/s")
    await bob.queue_file("alice", "large", content(SIZE))
    began_s = asyncio.get_running_loop().time()
    done = await bob.cli("node", "sync", "--timeout", "2s", code=75)
    assert asyncio.get_running_loop().time() - began_s < 20
    row = row_of(done.rows, "alice")
    assert (row["reached"], row["queued"], row["error"]) == (True, 1, "not done in time")
    assert done.error["code"] == "timeout"
    await bob.cli("limits", "set", "--up", "off")
    row = row_of((await bob.cli("node", "sync")).rows, "alice")
    assert (row["queued"], row["error"]) == (0, None)
    assert (await alice.ask("inbox.list"))[0]["size"] == SIZE


async def test_what_others_queue_meanwhile_keeps_the_node(
    pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = pair
    await bob.stop()
    sync = asyncio.create_task(bob.cli("node", "sync"))

    async def runs() -> bool:
        return bool(nodes_of(bob))

    await until(runs)
    # A command that waits is served to its end, whatever the other one wants.
    sent = await bob.cli("send", "-c", "alice", "meanwhile", "--wait")
    assert sent.rows[-1]["state"] == "delivered"
    await sync
    assert await alice.texts() == ["meanwhile"]


async def test_it_needs_contacts_and_an_open_home(friend: Any) -> None:
    bob = friend("bob")
    await bob.cli("node", "sync", code=78)
    await bob.cli("identity", "new", "--name", "bob", "--no-passphrase")
    await bob.cli("node", "stop")
    done = await bob.cli("node", "sync")
    assert (done.rows, nodes_of(bob)) == ([], [])
    await bob.cli("node", "sync", "--no-spawn", code=69)


async def test_a_contact_without_an_address_or_that_is_blocked_has_its_row(
    pair: tuple[Friend, Friend],
) -> None:
    _, bob = pair
    await bob.cli("contacts", "block", "alice")
    row = row_of((await bob.cli("node", "sync")).rows, "alice")
    assert (row["reached"], row["queued"]) == (False, 0)
    assert "blocked" in row["error"]
