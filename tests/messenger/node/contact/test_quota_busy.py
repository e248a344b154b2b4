"""A contact beyond its bounds waits, and nobody else does; one that asks and does not read is not read any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from peerpost.node.contact import exchange
from peerpost.node.session.lane import ANSWERS_BYTES
from peerpost.node.session.session import Session
from peerpost.store.tables import contacts, inbox
from peerpost.wire import inner as wire
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio


async def count(who: Somebody) -> int:
    return len(await who.received())


async def test_texts_wait_while_the_quota_is_used_up_and_come_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "QUOTA_RETRY_MS", 300)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        contact_id = bob.peer.contact.id
        await bob.store.write(contacts.set_quota, contact_id, 0)
        entry = await alice.queue("hello")
        await until(lambda: "quota here is used up" in (alice.peer.last_error or ""))
        assert await alice.state(entry) in ("queued", "sent")
        # The other way nothing is held up.
        back = await bob.queue("and you")
        await until(lambda: bob.delivered(back))
        assert await count(bob) == 0
        await bob.store.write(contacts.set_quota, contact_id, None)
        await until(lambda: alice.delivered(entry))
        (item,) = await bob.store.read(
            inbox.list_items, contact_id=None, unread=False, limit=9, since_ms=None
        )
        assert item.body == b"hello"


@pytest.mark.slow
async def test_who_asks_and_does_not_read_is_read_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pulls for a file that nobody has: each is answered by a Cancel, which Alice leaves where it is."""
    really = Session._read
    unread = asyncio.Event()

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):

        async def read(session: Session, lane: wire.Lane) -> None:
            if session is alice.peer.session:
                await unread.wait()
            await really(session, lane)

        monkeypatch.setattr(Session, "_read", read)
        before = (None, alice.peer.session, bob.peer.session)
        alice.peer.cut("to begin anew")
        # Bob may keep the old session for a moment, in which nobody asks.
        await until(lambda: alice.peer.session not in before and bob.peer.session not in before)
        session, answering = alice.peer.session, bob.peer.session
        assert session is not None
        assert answering is not None
        pull = wire.encode(wire.Pull(file_id=bytes(16), leaves_first=0, leaves_count=1))
        most = 0
        for _ in range(40):
            for _ in range(250):
                session.send(wire.Lane.URGENT, pull)
            await asyncio.sleep(0.02)
            most = max(most, answering.queued_bytes(wire.Lane.URGENT))
        for _ in range(50):
            await asyncio.sleep(0.02)
            most = max(most, answering.queued_bytes(wire.Lane.URGENT))
        assert ANSWERS_BYTES <= most < 2 * ANSWERS_BYTES
