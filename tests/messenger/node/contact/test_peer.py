"""A contact, between two nodes that can both dial."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.errors import StorageError
from peerpost.node.contact import handshake
from peerpost.node.contact.peer import Peer
from peerpost.node.control.methods import queue
from peerpost.node.session.session import Session
from peerpost.store.tables import outbox
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.support.network_rig import WAIT_S, acquainted, until
from tests.support.virtual_time import on_virtual_time


@on_virtual_time
async def test_two_who_dial_each_other_at_once_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "LANES_TIMEOUT_S", 3 * WAIT_S)
    async with acquainted(tmp_path, "alice", "bob", latency_s=0.02, at_once=True) as (alice, bob):
        assert alice.peer.online
        assert bob.peer.online


@on_virtual_time
async def test_sessions_that_end_at_once_are_waited_for_by_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = 0

    async def run(session: Session) -> None:
        nonlocal sessions
        sessions += 1
        session.abort("a session that does not last")

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        monkeypatch.setattr(Session, "run", run)
        alice.peer.cut("to begin")
        await asyncio.sleep(2)
        await until(lambda: not (alice.peer.online or bob.peer.online))
    # Each has two ends. The shortest wait is 0.2 s: ten sessions from either side, were all of them so.
    assert 2 <= sessions <= 2 * 2 * 10, sessions


@on_virtual_time
async def test_a_store_that_cannot_be_read_for_once_ends_no_dialling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set[Peer]()

    async def has_work(peer: Peer) -> bool:
        asked.add(peer)
        raise StorageError("the disk did not answer")

    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        monkeypatch.setattr(Peer, "_has_work", has_work)
        listeners = alice.transport.network.listeners
        gone = dict(listeners)
        listeners.clear()
        alice.peer.cut("to dial in vain")
        await until(lambda: len(asked) == 2)
        listeners.update(gone)
        alice.peer.retry_now()
        await until(lambda: alice.peer.online)


@pytest.mark.parametrize("ends_after_s", [0.0, 1.0])
@on_virtual_time
async def test_a_contact_that_is_busy_gets_nothing_until_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_after_s: float
) -> None:
    really = Session.run

    async def run(session: Session) -> None:
        await really(session)
        if session.connection.inbound:
            await asyncio.sleep(ends_after_s)

    monkeypatch.setattr(Session, "run", run)
    # Bob dials, also again, before Alice has done away with the session that was.
    async with acquainted(tmp_path, "bob", "alice") as (bob, alice):
        session, before = bob.peer.session, alice.peer.session
        assert session is not None
        busy = wire.Busy(reason="the disk is full", retry_ms=limits.MAX_RETRY_MS)
        session.send(wire.Lane.URGENT, wire.encode(busy))
        await until(lambda: alice.peer.last_error == "the peer is busy: the disk is full")
        entry = await alice.queue("hello")
        await until(lambda: alice.peer.session not in (None, before))
        await until(lambda: bob.peer.online)
        later = await alice.queue("and more")
        await asyncio.sleep(0.3)
        assert await alice.state(entry) == "queued", "what is queued overrides Busy"
        await queue.retry(alice.home, alice.request("queue.retry", id=entry.id))
        await until(lambda: alice.delivered(later))
        assert await alice.delivered(entry)
        assert len(await bob.received()) == 2


@pytest.mark.parametrize("at_hello", [False, True])
@on_virtual_time
async def test_a_full_disk_puts_off_what_a_receipt_settles_and_ends_no_session(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at_hello: bool,
) -> None:
    really, full = outbox.acknowledge, True

    def acknowledge(*arguments: Any, **named: Any) -> list[outbox.Entry]:
        if full:
            raise apsw.FullError("database or disk is full")
        return really(*arguments, **named)

    monkeypatch.setattr(outbox, "acknowledge", acknowledge)
    caplog.set_level(logging.WARNING)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        entry = await alice.queue("hello")
        await until(bob.received)
        if at_hello:
            alice.peer.cut("to say HELLO once more")
            await until(lambda: not alice.peer.online)
            await until(lambda: alice.peer.online and bob.peer.online)
        session = alice.peer.session
        assert session is not None
        await asyncio.sleep(0.3)
        assert await alice.state(entry) in ("queued", "sent")
        full = False
        await until(lambda: alice.delivered(entry))
        # Both dial after a loss, and then one of two may give way: to nothing else.
        assert not (session.cause or "").startswith("internal error")
        assert len(await bob.received()) == 1
    assert "cannot note what" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]
