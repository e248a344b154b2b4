"""What a contact that breaks PROTOCOL.md meets: each rule against a real session, over a network in memory.

The contact is a node like ours, whose session is made to send by hand what its code never sends.
"""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest

from peerpost.crypto.envelope import SendEpoch
from peerpost.crypto.keys import X25519KeyPair
from peerpost.node.files.transfers import Transfers
from peerpost.node.session.session import Session
from peerpost.store.tables import contacts
from peerpost.store.tables.numbered import link_of
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment
from tests.support.hello_rig import EVE
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.store_rig import message

pytestmark = pytest.mark.asyncio

SOON_S = 5.0
OUTBOX = b"o" * 16
FILE_ID = b"f" * 16


def text(seq: int = 1, *, lane: int = 0, body: bytes = b"Hello.") -> bytes:
    made, _ = message(seq, body=body, outbox_id=OUTBOX, lane=lane)
    return wire.encode(made)


def session_of(somebody: Somebody) -> Session:
    session = somebody.peer.session
    assert session is not None
    return session


def put(somebody: Somebody, lane: wire.Lane, payload: bytes) -> None:
    """Send a frame as it is."""
    frame = (len(payload).to_bytes(4, "big"), payload)
    session_of(somebody)._writers[lane].put_frame(frame)


def epoch_of(somebody: Somebody, seed: bytes, sender: X25519KeyPair | None = None) -> SendEpoch:
    keys = session_of(somebody).keys
    return SendEpoch(
        sender=sender or keys.my_encryption,
        recipient_id=keys.peer_id_public,
        prekey_id=keys.peer_epk_id,
        prekey_public=keys.peer_epk_public,
        psk=bytes(32),
        psk_generation=0,
        ephemeral_seed=seed * 32,
        now_s=0.0,
    )


async def ends(session: Session, cause: str) -> None:
    """Wait until a session has ended for a cause."""
    await until(lambda: session.cause is not None, timeout_s=SOON_S)
    assert cause in str(session.cause)


# -- what binds a message to its lane


@pytest.mark.parametrize("stream", list(wire.Lane))
async def test_a_message_of_the_other_lane_ends_the_session_and_is_not_taken(
    tmp_path: Path, stream: wire.Lane
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        session_of(alice).send(stream, text(lane=1 - stream))
        await ends(session, "wrong lane")
        assert await bob.received() == []


async def test_a_message_of_the_other_lane_among_others(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        for seq, lane in ((1, 0), (2, 0), (1, 1)):
            session_of(alice).send(wire.Lane.URGENT, text(seq, lane=lane))
        await ends(session, "wrong lane")
        assert len(await bob.received()) <= 2


async def test_a_segment_on_the_urgent_stream_ends_the_session(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        put(alice, wire.Lane.URGENT, Segment(FILE_ID, 0, 0, b"data").encode())
        await ends(session, "segment")


async def test_a_segment_behind_a_text_on_the_urgent_stream(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        session_of(alice).send(wire.Lane.URGENT, text())
        put(alice, wire.Lane.URGENT, Segment(FILE_ID, 0, 0, bytes(1000)).encode())
        await ends(session, "segment")


@pytest.mark.parametrize("lane", list(wire.Lane))
@pytest.mark.parametrize("kind", [0x00, 0x03, 0x11, 0x13, 0xFF])
async def test_a_frame_of_another_type_ends_the_session(
    tmp_path: Path, lane: wire.Lane, kind: int
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        put(alice, lane, bytes([kind]) + epoch_of(alice, b"e").seal(text(), None)[1:])
        await ends(session, "")
        assert await bob.received() == []


@pytest.mark.parametrize("lane", list(wire.Lane))
async def test_control_is_taken_from_either_stream(tmp_path: Path, lane: wire.Lane) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        entry = await bob.queue("Hello.")
        await until(lambda: bob.delivered(entry))
        session = session_of(alice)
        session.send(lane, wire.encode(wire.Busy(reason="no room", retry_ms=60_000)))
        await ends(session, "")
        assert "no room" in str(bob.peer.last_error)


# -- what binds an envelope to its sender, and to its place


async def test_an_envelope_of_another_sender_ends_the_session(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        put(alice, wire.Lane.URGENT, epoch_of(alice, b"e", EVE.ik).seal(text(), None))
        await ends(session, "another sender")
        assert await bob.received() == []


async def test_an_envelope_of_another_sender_behind_one_of_the_contact(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        put(alice, wire.Lane.URGENT, epoch_of(alice, b"e").seal(text(), None))
        await until(bob.received)
        put(alice, wire.Lane.URGENT, epoch_of(alice, b"f", EVE.ik).seal(text(2), None))
        await ends(session, "another sender")
        assert len(await bob.received()) == 1


async def test_an_envelope_that_comes_twice_ends_the_session(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        # Nothing numbered: what is refused is the envelope, not the message in it.
        inner = wire.encode(wire.Accept(file_id=FILE_ID))
        envelope = epoch_of(alice, b"e").seal(inner, None)
        put(alice, wire.Lane.BULK, envelope)
        put(alice, wire.Lane.BULK, envelope)
        await ends(session, "twice")


async def test_an_epoch_that_comes_back_ends_the_session(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        inner = wire.encode(wire.Accept(file_id=FILE_ID))
        first, second = epoch_of(alice, b"e"), epoch_of(alice, b"f")
        for epoch in (first, second, first):
            put(alice, wire.Lane.BULK, epoch.seal(inner, None))
        await ends(session, "came back")


async def test_each_stream_of_each_connection_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        seen: list[SendEpoch] = []
        for _ in range(2):
            session = session_of(alice)
            for lane in wire.Lane:
                session.send(lane, wire.encode(wire.Accept(file_id=FILE_ID)))
            await until(lambda s=session: all(w._epoch for w in s._writers.values()))
            seen += [epoch for w in session._writers.values() if (epoch := w._epoch) is not None]
            alice.peer.retry_now()
            alice.peer.cut("for another connection")
            await until(lambda s=session: alice.peer.session not in (None, s))
            await until(lambda: bob.peer.online)
        assert len({epoch.epoch for epoch in seen}) == len(seen) == 4
        for epoch in seen:
            with pytest.raises(TypeError):
                pickle.dumps(epoch)


# -- what a message may change


@pytest.mark.parametrize("whose", ["of another identity", "that is not signed"])
async def test_a_statement_that_is_not_the_contacts_changes_nothing(
    tmp_path: Path, whose: str
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        before = bob.peer.contact
        signed = EVE.local.statement if whose == "of another identity" else before.signed
        assert signed is not None
        sig = signed.sig if whose == "of another identity" else bytes(64)
        statement = wire.Statement(body=signed.body, sig=sig)
        session_of(alice).send(wire.Lane.URGENT, wire.encode(statement))
        await asyncio.sleep(0.2)
        after = await bob.store.read(contacts.find, before.id)
        assert (after.signed, after.id_public) == (before.signed, before.id_public)


async def test_a_type_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        session_of(alice).send(wire.Lane.URGENT, bytes([99, 0x90]))
        session_of(alice).send(wire.Lane.URGENT, text())
        await until(bob.received, timeout_s=SOON_S)
        assert session.cause is None


async def test_a_request_for_a_file_that_is_not_there_is_answered_by_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    really = Transfers.on_control

    async def on_control(
        transfers: Transfers, contact_id: str, session: Session, said: wire.Inner
    ) -> None:
        told.append(said)
        await really(transfers, contact_id, session, said)

    monkeypatch.setattr(Transfers, "on_control", on_control)
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        pull = wire.Pull(file_id=FILE_ID, leaves_first=0, leaves_count=0, ranges=((0, 1),))
        session_of(alice).send(wire.Lane.URGENT, wire.encode(pull))
        cancels = lambda: [m for m in told if isinstance(m, wire.Cancel)]  # noqa: E731
        await until(cancels, timeout_s=SOON_S)
        assert [cancel.file_id for cancel in cancels()] == [FILE_ID]


# -- commit, then answer


async def test_nothing_is_acknowledged_before_it_is_stored(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        holding, release = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(_db: Any) -> None:
            loop.call_soon_threadsafe(holding.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        held = loop.create_task(bob.store.write(hold))
        try:
            await asyncio.wait_for(holding.wait(), SOON_S)
            entry = await alice.queue("Hello.")
            await asyncio.sleep(0.5)
            assert not await alice.delivered(entry)
        finally:
            release.set()
            await held
        await until(lambda: alice.delivered(entry), timeout_s=SOON_S)
        assert len(await bob.received()) == 1


async def test_a_text_is_numbered_once_and_without_gaps(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        entries = [await alice.queue(str(n)) for n in range(5)]
        assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
        assert len({link_of(entry.inner) for entry in entries}) == 5
