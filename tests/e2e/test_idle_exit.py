"""A node that a command has started leaves when it has nothing to do; a ticket that may still be used is something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.support.nodes import Friend, processes_in, until

pytestmark = pytest.mark.asyncio

IDLE_EXIT_S = 1.0
LONGER_S = 4 * IDLE_EXIT_S
"""Within this a node that has nothing to do would have left: it looks once a second."""

MakeFriend = Callable[..., Friend]


def nodes(one: Friend) -> list[int]:
    return [pid for pid, _ in processes_in(one.home)]


async def left(one: Friend) -> None:
    async def gone() -> bool:
        return not nodes(one)

    await until(gone)


async def stays(one: Friend) -> None:
    before = nodes(one)
    assert before
    await asyncio.sleep(LONGER_S)
    assert nodes(one) == before


async def person(friend: MakeFriend, name: str) -> Friend:
    one = friend(name, idle_exit=f"{IDLE_EXIT_S:g}s")
    await one.cli("identity", "new", "--name", name, "--no-passphrase")
    return one


async def test_a_node_stays_while_it_is_used(friend: MakeFriend) -> None:
    """However short the requests are, and though none runs at the moments when the node looks."""
    alice = await person(friend, "alice")
    before = nodes(alice)
    began_s = time.monotonic()
    while time.monotonic() < began_s + LONGER_S:
        await alice.ask("contacts.list")
        await asyncio.sleep(IDLE_EXIT_S / 3)
    assert nodes(alice) == before != []
    await left(alice)


async def test_a_node_stays_until_its_ticket_is_used(friend: MakeFriend) -> None:
    alice, bob = await person(friend, "alice"), await person(friend, "bob")
    invited = (await alice.cli("contacts", "invite", "bob")).row
    await asyncio.gather(stays(alice), left(bob))
    await bob.cli("contacts", "add", "alice", invited["ticket"])
    await asyncio.gather(left(alice), left(bob))
    (row,) = (await bob.cli("contacts", "list")).rows
    assert row["state"] == "active"


@pytest.mark.parametrize("how", ["withdrawn", "expired"])
async def test_a_node_leaves_once_its_ticket_is_of_no_use(friend: MakeFriend, how: str) -> None:
    alice = await person(friend, "alice")
    expires_s = 3600 if how == "withdrawn" else 10
    invited = (await alice.cli("contacts", "invite", "bob", "--expires", f"{expires_s}s")).row
    await stays(alice)
    if how == "withdrawn":
        await alice.cli("contacts", "invites", "--withdraw", invited["id"])
    await left(alice)


async def test_a_node_stays_that_has_still_to_use_a_ticket(friend: MakeFriend) -> None:
    alice, bob = await person(friend, "alice"), await person(friend, "bob")
    invited = (await alice.cli("contacts", "invite", "bob")).row
    await alice.cli("node", "stop")
    await bob.cli("contacts", "add", "alice", invited["ticket"])
    await stays(bob)
    await bob.cli("contacts", "remove", "alice", "--yes")
    await left(bob)
