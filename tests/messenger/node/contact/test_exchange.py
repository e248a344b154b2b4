"""The traffic with one contact: what is acknowledged, marked, put off and asked for again, and when."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.node.contact.exchange import (
    BUSY_RETRY_MS,
    FULL_RETRY_S,
    MARK_SENT_S,
    QUOTA_RETRY_MS,
)
from peerpost.node.contact.peer import STEADY_S
from peerpost.store.tables import agreement, contacts, inbox, outbox
from peerpost.wire import inner as wire
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time, running

LONG_S = 60.0


class Calls:
    """When a function of the store was called; it fails as on a full disk while `full` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.at_s: list[float] = []
        self.full = False
        self._really = getattr(module, name)
        self._clock = running().clock
        monkeypatch.setattr(module, name, self._call)

    def _call(self, *args: Any, **more: Any) -> Any:
        self.at_s.append(self._clock.monotonic_s())
        if self.full:
            raise apsw.FullError("database or disk is full")
        return self._really(*args, **more)


def now_s() -> float:
    return running().time()


def say_busy(somebody: Somebody, retry_ms: int) -> None:
    session = somebody.peer.session
    assert session is not None
    busy = wire.Busy(reason="the disk is full", retry_ms=retry_ms)
    session.send(wire.Lane.URGENT, wire.encode(busy))


# -- receipts, and what has none yet


@on_virtual_time
async def test_what_is_acknowledged_at_once_was_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt that comes within `MARK_SENT_S` saves a write."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        marked = Calls(monkeypatch, outbox, "mark_sent")
        alice.transport.network.latency_s = MARK_SENT_S / 2 - 0.01
        entry = await alice.queue("hello")
        await until(lambda: alice.delivered(entry))
        await asyncio.sleep(1)
        assert marked.at_s == []
        assert len(await bob.received()) == 1


@on_virtual_time
async def test_what_is_not_acknowledged_soon_is_marked_as_sent(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        alice.transport.network.latency_s = 3.0
        first = await alice.queue("hello")
        await asyncio.sleep(1.1 * MARK_SENT_S)
        second = await alice.queue("and more")
        assert await alice.state(first) == "queued"
        await asyncio.sleep(MARK_SENT_S)
        # One round takes what had left before it began.
        assert await alice.state(first) == "sent"
        assert await alice.state(second) == "queued"
        await asyncio.sleep(MARK_SENT_S)
        assert await alice.state(second) == "sent"
        assert await bob.received() == []
        await asyncio.sleep(6)
        assert await alice.delivered(first)
        assert await alice.delivered(second)


@on_virtual_time
async def test_one_receipt_settles_all_that_came_while_the_last_was_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        settled = Calls(monkeypatch, outbox, "acknowledge")
        settled.full = True
        entries = [await alice.queue("hello")]
        await until(lambda: settled.at_s)
        for number in range(20):
            entries.append(await alice.queue(str(number)))
            await asyncio.sleep(0.02)  # A receipt of its own.
        settled.full = False
        await until(lambda: alice.delivered(entries[-1]))
        assert all([await alice.delivered(entry) for entry in entries])
        # The first, the same again, and one for all that came meanwhile.
        assert len(settled.at_s) == 3


# -- our disk is full


@on_virtual_time
async def test_while_our_disk_is_full_what_a_receipt_settles_is_tried_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        settled = Calls(monkeypatch, outbox, "acknowledge")
        settled.full = True
        session, begun_s = alice.peer.session, now_s()
        entry = await alice.queue("hello")
        await asyncio.sleep(2.5 * FULL_RETRY_S)
        assert not await alice.delivered(entry)
        settled.full = False
        await until(lambda: alice.delivered(entry))
        tried_s = [at_s - begun_s for at_s in settled.at_s]
        assert tried_s == pytest.approx([n * FULL_RETRY_S for n in range(4)], abs=0.1)
        assert alice.peer.session is session


@on_virtual_time
async def test_while_our_disk_is_full_nothing_is_sent_before_the_numbers_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        agreed = Calls(monkeypatch, agreement, "agree")
        agreed.full = True
        await asyncio.sleep(2 * STEADY_S)
        alice.peer.cut("to begin anew")
        await until(lambda: alice.peer.online and bob.peer.online)
        begun_s = now_s()
        entry = await alice.queue("hello")
        await asyncio.sleep(1.5 * FULL_RETRY_S)
        assert await bob.received() == []
        agreed.full = False
        await until(lambda: alice.delivered(entry))
        assert now_s() - begun_s == pytest.approx(2 * FULL_RETRY_S, abs=0.5)


# -- the disk of the contact is full, or it has no room for us


@on_virtual_time
async def test_a_contact_that_is_busy_gets_nothing_for_as_long_as_it_says(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        begun_s = now_s()
        say_busy(bob, round(LONG_S * 1000))
        await until(lambda: not alice.peer.online)
        entry = await alice.queue("hello")
        await until(lambda: alice.peer.online)
        assert now_s() - begun_s < 2, "the session that follows is there at once"
        # Another session in between changes nothing.
        await asyncio.sleep(LONG_S / 2)
        alice.peer.cut("to begin anew")
        await until(lambda: alice.peer.online)
        await asyncio.sleep(LONG_S / 2 - 3)
        assert await alice.state(entry) == "queued"
        assert await bob.received() == []
        back = await bob.queue("and you")
        await until(lambda: bob.delivered(back))
        # And the user is told why, not how the last session ended.
        assert alice.peer.last_error == "the peer is busy: the disk is full"
        await until(lambda: alice.delivered(entry))
        assert now_s() - begun_s == pytest.approx(LONG_S, abs=0.5)


@on_virtual_time
async def test_of_two_times_that_a_busy_contact_asks_for_the_later_holds(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        begun_s = now_s()
        for retry_ms in (40_000, 10_000):
            say_busy(bob, retry_ms)
            await until(lambda: not alice.peer.online)
            await until(lambda: alice.peer.online and bob.peer.online)
        entry = await alice.queue("hello")
        await until(lambda: alice.delivered(entry), timeout_s=LONG_S)
        assert now_s() - begun_s == pytest.approx(40, abs=0.5)


@on_virtual_time
async def test_who_comes_to_a_full_disk_is_asked_to_wait_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        received = Calls(monkeypatch, inbox, "receive_many")
        received.full = True
        session, begun_s = alice.peer.session, now_s()
        entry = await alice.queue("hello")
        await until(lambda: alice.peer.session is not session)
        # It was told why before the session ended.
        assert alice.peer.last_error == "the peer is busy: the disk is full"
        await asyncio.sleep(2.2 * BUSY_RETRY_MS / 1000)
        assert await bob.received() == []
        received.full = False
        await until(lambda: alice.delivered(entry))
        tried_s = [at_s - begun_s for at_s in received.at_s]
        assert tried_s == pytest.approx([n * BUSY_RETRY_MS / 1000 for n in range(4)], abs=0.5)
        assert len(await bob.received()) == 1


@on_virtual_time
async def test_one_that_does_not_hear_that_we_are_busy_is_left_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        received = Calls(monkeypatch, inbox, "receive_many")
        received.full = True
        network = alice.transport.network
        session, begun_s = bob.peer.session, now_s()
        assert session is not None
        network.latency_s = 0.1
        await alice.queue("hello")
        await until(lambda: received.at_s)
        network.partition({alice.transport.peer_id}, {bob.transport.peer_id})
        await until(lambda: session.cause is not None)
        assert session.cause == "our disk is full"
        assert now_s() - begun_s == pytest.approx(0.1 + 0.5, abs=0.05)
        network.heal()


@on_virtual_time
async def test_who_has_used_up_its_quota_waits_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.1)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        contact_id = bob.peer.contact.id
        await bob.store.write(contacts.set_quota, contact_id, 0)
        begun_s = now_s()
        entry = await alice.queue("hello")
        await asyncio.sleep(1)
        await bob.store.write(contacts.set_quota, contact_id, None)
        await asyncio.sleep(QUOTA_RETRY_MS / 1000 - 2)
        assert await alice.state(entry) in ("queued", "sent")
        # The other way nothing is held up.
        back = await bob.queue("and you")
        await until(lambda: bob.delivered(back))
        await until(lambda: alice.delivered(entry))
        assert now_s() - begun_s == pytest.approx(QUOTA_RETRY_MS / 1000, abs=1)
