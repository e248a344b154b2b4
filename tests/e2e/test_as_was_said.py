"""What a node has said stays so, whatever kills it, and what happens to its home: seen from outside alone.

Nothing here knows the code, so that it can be run against any version that has the commands.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from peerpost.errors import PeerpostError
from tests.e2e.conftest import MakeFriend
from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio

SIZE = 4_000_000
SLOW_BYTES_S = 1 << 20


def spooled(one: Friend) -> list[str]:
    """Return what lies in the spool of a home."""
    return sorted(found.name for found in (one.home / "spool").iterdir())


async def under_way(alice: Friend, bob: Friend) -> str:
    """Have a file under way over a slow link, and return its id."""
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = SLOW_BYTES_S
    id_ = await alice.queue_file("bob", "secret.bin", content(SIZE))

    async def some() -> bool:
        return bool((await bob.ask("transfers.list"))[:1])

    await until(some, step_s=0.01)
    return id_


@pytest.mark.parametrize("away", [True, False])
async def test_a_file_taken_back_does_not_arrive_though_its_sender_is_killed(
    pair: tuple[Friend, Friend], away: bool
) -> None:
    alice, bob = pair
    id_ = await under_way(alice, bob)
    if away:
        await bob.kill()
    asking = asyncio.create_task(alice.ask("queue.cancel", {"id": id_}))

    async def said() -> bool:
        return bool((await alice.ask("sent.show", {"id": id_}))["state"] == "cancelled")

    await until(said, step_s=0)
    await alice.kill()
    await asyncio.gather(asking, return_exceptions=True)
    if away:
        await bob.start()
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = 0
    await alice.start()
    assert (await alice.ask("sent.show", {"id": id_}))["state"] == "cancelled"

    async def ended() -> bool:
        rows = await bob.ask("transfers.list")
        assert "done" not in {row["state"] for row in rows}, rows
        return {row["state"] for row in rows} == {"cancelled"}

    await until(ended)
    assert await bob.ask("inbox.list") == []
    await until(lambda: asyncio.sleep(0, not spooled(alice)))


async def test_what_a_killed_guest_read_as_active_is_a_contact_of_the_host(
    friend: MakeFriend,
) -> None:
    """The host is killed the moment the guest reads `active`: neither is alone with that."""
    for round_ in range(4):
        host, guest = friend(f"h{round_}"), friend(f"g{round_}")
        await asyncio.gather(host.start(), guest.start())
        await asyncio.gather(host.create(), guest.create())
        await meet(host, guest)
        await host.kill()
        await host.start()
        names = [row["name"] for row in await host.ask("contacts.list")]
        assert names == [guest.name]


async def test_a_node_whose_store_was_deleted_says_so_and_takes_nothing(
    pair: tuple[Friend, Friend],
) -> None:
    alice, _ = pair
    for found in alice.home.glob("store.db*"):
        found.unlink()

    async def refused() -> bool:
        try:
            await alice.ask("send-net", {"contact": "bob", "text": "is it kept?"})
        except PeerpostError as error:
            return error.exit_code == 74
        return False

    await until(refused, timeout_s=15)

    async def unwell() -> bool:
        return bool((await alice.ask("node.status"))["unwell"])

    await until(unwell, timeout_s=15)
    assert not all(row["ok"] for row in await alice.ask("doctor"))


@pytest.mark.parametrize("what", ["spool", "blobs", "control.sock"])
async def test_what_can_be_made_again_is_made_again(pair: tuple[Friend, Friend], what: str) -> None:
    alice, bob = pair
    place = alice.home / what
    await asyncio.to_thread(lambda: place.unlink() if not place.is_dir() else place.rmdir())

    async def made() -> bool:
        return await asyncio.to_thread(os.path.lexists, place)

    await until(made, timeout_s=15)
    id_ = await alice.queue_file("bob", "a.bin", content(10_000))
    await alice.delivered(id_)
    id_ = await bob.queue_file("alice", "b.bin", content(10_000))
    await bob.delivered(id_)


async def test_a_contact_who_is_removed_in_the_middle_leaves_nothing(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await under_way(alice, bob)
    await bob.ask("contacts.remove", {"name": "alice"})

    async def gone() -> bool:
        return not list((bob.home / "blobs").iterdir()) and not await bob.ask("transfers.list")

    await until(gone, timeout_s=15)
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = 0
    assert not (await bob.ask("contacts.list"))


async def test_two_files_of_one_name_from_two_contacts_are_two(friend: MakeFriend) -> None:
    alice, bob, carol = friend("alice"), friend("bob"), friend("carol")
    await asyncio.gather(*(one.start() for one in (alice, bob, carol)))
    await asyncio.gather(*(one.create() for one in (alice, bob, carol)))
    await meet(bob, alice)
    await meet(bob, carol)
    one, two = content(300_000, 1), content(300_000, 2)
    await alice.delivered(await alice.queue_file("bob", "same.bin", one))
    await carol.delivered(await carol.queue_file("bob", "same.bin", two))
    rows = {row["contact"]: row["id"] for row in await bob.ask("inbox.list")}
    assert await bob.saved(rows["alice"]) == one
    assert await bob.saved(rows["carol"]) == two
