"""The contacts and the connections to them, in time: what expires, how it listens again, and who is dialled first."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import UnavailableError
from peerpost.net.interface import ConnectionLostError
from peerpost.node.contact.dialling import DIAL_BURST, DIALS_PER_S, DialPace
from peerpost.node.contact.network import Network
from peerpost.node.contact.tickets import EXPIRY_CHECK_S
from peerpost.node.control.methods import contacts as contact_methods
from peerpost.node.control.methods import invites
from peerpost.store.tables import contacts, outbox
from peerpost.wire import inner as wire
from tests.support.network_rig import Somebody, acquainted, strangers, until
from tests.support.virtual_time import on_virtual_time, running

GOOD_FOR_S = 61


def now_s() -> float:
    return running().time()


async def ticket_of(host: Somebody, name: str) -> str:
    """Return a ticket that is good for a minute or so."""
    request = host.request("contacts.invite", name=name, expires_s=GOOD_FOR_S)
    return str((await invites.invite(host.home, request))["ticket"])


async def add(guest: Somebody, name: str, ticket: str) -> None:
    request = guest.request("contacts.add", name=name, ticket=ticket)
    await contact_methods.add(guest.home, request)


# -- what expires


@on_virtual_time
async def test_a_ticket_whose_maker_is_away_is_waited_for_until_it_expires(tmp_path: Path) -> None:
    async with strangers(tmp_path, "host", "guest") as (host, guest):
        begun_s = now_s()
        ticket = await ticket_of(host, "guest")
        host.transport.network.partition({host.transport.peer_id}, {guest.transport.peer_id})
        adding = asyncio.create_task(add(guest, "host", ticket))
        await asyncio.sleep(GOOD_FOR_S - 1)
        await adding
        assert guest.peer.contact.state == "pending"
        await until(lambda: guest.peer.contact.state == "expired")
        assert 0 <= now_s() - begun_s - GOOD_FOR_S <= EXPIRY_CHECK_S + 0.1
        assert "expired before its maker could be reached" in str(guest.peer.contact.why)
        # Nobody is dialled for it any more, and its maker takes it no more.
        host.transport.network.heal()
        attempts = guest.peer.attempts
        await asyncio.sleep(600)
        assert guest.peer.attempts <= attempts + 1
        assert host.home.network.peers == {}


@on_virtual_time
async def test_a_ticket_is_good_until_its_last_second(tmp_path: Path) -> None:
    async with strangers(tmp_path, "host", "guest") as (host, guest):
        ticket = await ticket_of(host, "guest")
        host.transport.network.partition({host.transport.peer_id}, {guest.transport.peer_id})
        adding = asyncio.create_task(add(guest, "host", ticket))
        await asyncio.sleep(GOOD_FOR_S - 5)
        await adding
        host.transport.network.heal()
        guest.peer.dial_now()
        await until(lambda: guest.peer.online, timeout_s=4)
        assert guest.peer.contact.state == "active"
        await asyncio.sleep(2 * GOOD_FOR_S)
        assert guest.peer.contact.state == "active"


@on_virtual_time
async def test_a_message_that_is_not_delivered_in_time_expires_and_leaves_no_gap(
    tmp_path: Path,
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        network, begun_s = alice.transport.network, now_s()
        network.partition({alice.transport.peer_id}, {bob.transport.peer_id})
        clock, contact_id = alice.home.clock, alice.peer.contact.id
        entry = await alice.store.write(
            outbox.enqueue,
            contact_id=contact_id,
            lane=0,
            message_kind=wire.Kind.TEXT,
            body=b"soon",
            size=4,
            now_ms=clock.now_ms(),
            expires_ms=clock.now_ms() + GOOD_FOR_S * 1000,
        )
        later = await alice.queue("whenever")
        await asyncio.sleep(GOOD_FOR_S - 1)
        assert await alice.state(entry) in ("queued", "sent")

        async def has_expired() -> bool:
            return await alice.state(entry) == "expired"

        await until(has_expired)
        assert 0 <= now_s() - begun_s - GOOD_FOR_S <= EXPIRY_CHECK_S + 0.1
        network.heal()
        alice.peer.dial_now()
        await until(lambda: alice.delivered(later))
        assert len(await bob.received()) == 1


# -- listening and dialling


@on_virtual_time
async def test_one_that_does_not_listen_yet_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    async with strangers(tmp_path, "host") as (host,):
        network = Network(host.home.services, host.home.me, host.home.transfers)
        begun_s = now_s()
        with pytest.raises(UnavailableError, match="does not listen"):
            await network.wait_ready(7)
        assert now_s() - begun_s == 7
        asyncio.get_running_loop().call_later(3, network.ready.set)
        await network.wait_ready(7)
        assert now_s() - begun_s == 10


@on_virtual_time
async def test_after_a_failure_it_listens_again_and_says_so_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that it fails, the wait before the next try is longer. Then all are dialled at once."""
    broken = pytest.MonkeyPatch()
    monkeypatch.setattr(random, "random", lambda: 1.0)
    began_s: list[float] = []
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        transport, lost, duties = alice.transport, asyncio.Event(), alice.home.services.duties
        monkeypatch.setattr(duties, "_draw", lambda: 0.9)
        really = transport.start

        async def accept() -> Any:
            await lost.wait()
            raise ConnectionLostError("the link is gone")

        async def start() -> None:
            began_s.append(now_s())
            if len(began_s) < 4:
                raise UnavailableError("no descriptor is left")
            broken.undo()
            await really()

        broken.setattr(transport, "accept", accept)
        broken.setattr(transport, "start", start)
        await transport._incoming.put(None)  # type: ignore[attr-defined]
        lost.set()
        await until(lambda: began_s)
        await asyncio.sleep(0.5)
        assert alice.home.network.unreachable is not None
        (failing,) = duties.failing()
        assert failing["name"] == "accept"
        assert not alice.peer.online
        await until(lambda: alice.peer.online and bob.peer.online, timeout_s=60)
        assert now_s() - began_s[-1] < 0.1
        waits_s = [later - before for before, later in pairwise(began_s)]
        assert waits_s == pytest.approx([0.9, 1.8, 3.6], abs=0.05)
        assert alice.home.network.unreachable is None
        await asyncio.sleep(15)
        assert duties.failing() == []


@on_virtual_time
async def test_a_thousand_contacts_who_are_away_are_dialled_one_after_another() -> None:
    pace, at_s = DialPace(clock=running().clock), list[float]()
    begun_s = now_s()

    async def dial(name: str, *, soon: bool) -> None:
        await pace.turn(name, soon=soon)
        at_s.append(now_s() - begun_s)

    async with asyncio.TaskGroup() as group:
        for number in range(1000):
            group.create_task(dial(str(number), soon=False))
        await asyncio.sleep(5)
        assert len(at_s) == pytest.approx(DIAL_BURST + 5 * DIALS_PER_S, abs=1)
        # One that is wanted waits for the next turn alone.
        asked_s = now_s()
        await pace.turn("wanted", soon=True)
        assert now_s() - asked_s <= 1 / DIALS_PER_S + 0.001
    assert at_s[DIAL_BURST - 1] == 0
    assert at_s[-1] == pytest.approx((1001 - DIAL_BURST) / DIALS_PER_S, abs=0.05)


@on_virtual_time
async def test_a_contact_that_was_last_here_is_dialled_first(tmp_path: Path) -> None:
    async with strangers(tmp_path, "host") as (host,):
        store, order = host.store, list[str]()
        for name, seen_ms in (("a: never", None), ("b: long ago", 1000), ("c: just now", 2000)):
            contact = await store.write(
                contacts.add,
                name=name,
                id_public=name.encode().ljust(32, b"."),
                state="active",
                transport_public=name.encode().ljust(32, b","),
                addresses=(host.transport.network.new_address(),),
                now_ms=500,
            )
            if seen_ms is not None:
                await store.write(contacts.touch, contact.id, seen_ms)
        network = Network(host.home.services, host.home.me, host.home.transfers)
        await network.load()

        async def turn(contact_id: str, *, soon: bool) -> None:
            del soon
            order.append(network.peers[contact_id].contact.name)
            await asyncio.Event().wait()

        network.reach.dials.turn = turn  # type: ignore[method-assign]
        network.start(host.transport)
        await until(lambda: len(order) == 3)
        assert order == ["c: just now", "b: long ago", "a: never"]
        for peer in network.peers.values():
            await peer.stop()
        await network._tasks.stop()
