"""Files between two nodes, in time: interrupted, stalled, paused, given up, and gone on with."""

from __future__ import annotations

import asyncio
import os
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from peerpost.node.contact import network as network_module
from peerpost.node.contact import tickets
from peerpost.node.contact.peer import LOOK_AGAIN_DIALS
from peerpost.node.files.transfers import BY_RECEIVER, BY_SENDER, REJECTED, Transfers
from peerpost.node.session.session import Session
from peerpost.protocol.patience import ReceivePolicy
from peerpost.store.tables import outbox, transfers
from peerpost.store.tables.limits import RateLimit
from peerpost.wire import inner as wire
from tests.messenger.node.contact.test_redial import Dials, dials_not
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time, running

SIZE_BYTES = 4 << 20
UP_BYTES_S = 100_000
"""At this rate, the file takes 42 seconds."""
QUEUED_BYTES = 5 << 19
"""More than a lane and the link take before a sender waits, also where the threads of a busy machine are late."""
HOURS_S = 3 * 3600
POLICY = ReceivePolicy()


def now_s() -> float:
    return running().time()


def check_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the node look for what has expired so seldom that hours pass in no time."""
    for module in (network_module, tickets):
        monkeypatch.setattr(module, "EXPIRY_CHECK_S", 600)


def slow(somebody: Somebody) -> None:
    somebody.home.services.limits.change(RateLimit(up_bytes_s=UP_BYTES_S))


def fast(somebody: Somebody) -> None:
    somebody.home.services.limits.change(RateLimit())


async def send(somebody: Somebody, folder: Path, *, expires_ms: int | None = None) -> outbox.Entry:
    """Queue a file of random bytes."""
    path = folder / "file"
    path.write_bytes(random.Random(7).randbytes(SIZE_BYTES))
    fd = os.open(path, os.O_RDONLY)
    try:
        entry = await somebody.home.transfers.queue.put(
            somebody.peer.contact.id,
            fd,
            name="file",
            path_hint=None,
            lane=wire.Lane.BULK,
            expires_ms=expires_ms,
        )
    finally:
        os.close(fd)
    somebody.home.network.queued(entry)
    return entry


async def row_of(somebody: Somebody) -> transfers.Transfer:
    """Return the only transfer."""
    (row,) = await somebody.store.read(transfers.select, "1")
    return row


async def state(somebody: Somebody) -> str:
    """Return the state of the only transfer, or "" while there is none."""
    rows = await somebody.store.read(transfers.select, "1")
    return rows[0].state if rows else ""


async def begun(alice: Somebody, bob: Somebody) -> None:
    """Wait until half of the file has come."""

    async def has_some() -> bool:
        rows = await bob.store.read(transfers.select, "1")
        return bool(rows) and rows[0].progress_bytes >= 2 << 20

    await until(has_some, timeout_s=60)
    assert (await row_of(alice)).state == "active"


class Sent:
    """How many bytes of chunks left a node, and which control messages about files reached each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chunk_bytes = 0
        self.drop = False
        self.told: list[tuple[float, wire.Inner]] = []
        send_chunk, on_control = Session.send_chunk, Transfers.on_control

        async def note_chunk(session: Session, frames: Any, on_left: Any = None) -> None:
            if self.drop:
                await asyncio.sleep(0.1)
                if on_left is not None:
                    on_left()
                return
            self.chunk_bytes += sum(len(part) for frame in frames for part in frame)
            await send_chunk(session, frames, on_left)

        async def note_control(
            held: Transfers, contact_id: str, session: Session, message: wire.Inner
        ) -> None:
            self.told.append((now_s(), message))
            await on_control(held, contact_id, session, message)

        monkeypatch.setattr(Session, "send_chunk", note_chunk)
        monkeypatch.setattr(Transfers, "on_control", note_control)

    def of(self, kind: type[wire.Inner]) -> list[Any]:
        return [message for _, message in self.told if isinstance(message, kind)]


def part(alice: Somebody, bob: Somebody) -> None:
    """Let them not hear each other."""
    alice.transport.network.partition({alice.transport.peer_id}, {bob.transport.peer_id})


async def meet(alice: Somebody, bob: Somebody) -> None:
    """Let them find each other again."""
    alice.transport.network.heal()
    alice.peer.dial_now()
    await until(lambda: alice.peer.online and bob.peer.online)


# -- interrupted


@on_virtual_time
async def test_a_file_goes_on_after_hours_without_contact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_seldom(monkeypatch)
    sent = Sent(monkeypatch)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path)
        await begun(alice, bob)
        part(alice, bob)
        await asyncio.sleep(HOURS_S)
        assert not alice.peer.online
        assert (await state(alice), await state(bob)) == ("active", "active")
        alice.transport.network.heal()
        fast(alice)
        # Nobody asks for it: what waits is dialled for every half a minute.
        await until(lambda: alice.delivered(entry), timeout_s=60)
        assert (await state(alice), await state(bob)) == ("done", "done")
        # Only what was under way was sent again.
        assert sent.chunk_bytes < SIZE_BYTES + QUEUED_BYTES
        assert len(await bob.received()) == 1


@on_virtual_time
async def test_a_file_goes_on_after_the_machines_have_slept_for_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was due in the meantime is due at once."""
    sent = Sent(monkeypatch)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path)
        await begun(alice, bob)
        running().jump(3 * 86_400)
        await until(lambda: alice.delivered(entry), timeout_s=120)
        assert sent.chunk_bytes < SIZE_BYTES + QUEUED_BYTES


# -- stalled


@on_virtual_time
async def test_what_is_lost_is_asked_for_ever_more_seldom_and_said_to_be_stalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_seldom(monkeypatch)
    sent = Sent(monkeypatch)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path)
        await begun(alice, bob)
        sent.drop = True
        session = bob.peer.session
        # What had left still comes.
        await asyncio.sleep(60)
        first = len(sent.told)
        await asyncio.sleep(HOURS_S / 3)
        asked_s = [at_s for at_s, m in sent.told[first:] if isinstance(m, wire.Pull)]
        waits_s = [later - before for before, later in pairwise(asked_s)]
        assert set(map(round, waits_s[4:])) == {round(POLICY.ask_timeout_max_s)}
        row = await row_of(bob)
        assert row.state == "active"
        assert str(row.error).startswith("waiting for chunk")
        assert bob.peer.session is session
        sent.drop = False
        fast(alice)
        await until(lambda: alice.delivered(entry), timeout_s=POLICY.ask_timeout_max_s + 1)
        assert (await row_of(bob)).error is None


# -- paused, over sessions


@on_virtual_time
async def test_a_pause_by_the_sender_holds_over_sessions_until_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_seldom(monkeypatch)
    sent = Sent(monkeypatch)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path)
        await begun(alice, bob)
        part(alice, bob)
        await asyncio.sleep(60)
        await alice.home.transfers.pause((await row_of(alice)).id)
        await meet(alice, bob)
        fast(alice)
        await asyncio.sleep(1)
        assert (await row_of(bob)).peer_pause == BY_SENDER
        before_bytes, before = sent.chunk_bytes, len(sent.of(wire.Pull))
        await asyncio.sleep(3600)
        assert sent.chunk_bytes == before_bytes
        assert len(sent.of(wire.Pull)) - before < 10, "nobody asks while it is paused"
        await alice.home.transfers.resume((await row_of(alice)).id)
        await until(lambda: alice.delivered(entry), timeout_s=5)
        assert (await row_of(bob)).peer_pause is None


@on_virtual_time
async def test_a_pause_by_the_receiver_is_told_in_each_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(monkeypatch)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path)
        await begun(alice, bob)
        part(alice, bob)
        await asyncio.sleep(60)
        await bob.home.transfers.pause((await row_of(bob)).id)
        await meet(alice, bob)
        await asyncio.sleep(1)
        assert (await row_of(alice)).peer_pause == BY_RECEIVER
        before_bytes, told = sent.chunk_bytes, len(sent.of(wire.Pause))
        await asyncio.sleep(600)
        alice.peer.cut("for another session")
        await until(lambda: len(sent.of(wire.Pause)) > told)
        assert sent.chunk_bytes == before_bytes
        fast(alice)
        await bob.home.transfers.resume((await row_of(bob)).id)
        await until(lambda: alice.delivered(entry), timeout_s=5)


# -- given up while the other is away


@on_virtual_time
async def test_a_file_that_was_refused_meanwhile_is_told_so_in_the_next_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(monkeypatch)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path)
        await begun(alice, bob)
        part(alice, bob)
        await asyncio.sleep(60)
        await bob.home.transfers.reject((await row_of(bob)).id)
        assert await alice.state(entry) in ("queued", "sent")
        await meet(alice, bob)

        async def is_refused() -> bool:
            return await alice.state(entry) == "refused"

        await until(is_refused)
        assert {cancel.reason for cancel in sent.of(wire.Cancel)} == {REJECTED}
        # The store notes that the contact knows: no later session says it again.
        await asyncio.sleep(10)
        told = len(sent.of(wire.Cancel))
        alice.peer.cut("for another session")
        await asyncio.sleep(60)
        assert alice.peer.online
        assert len(sent.of(wire.Cancel)) == told
        assert list((tmp_path / "bob" / "blobs").iterdir()) == []


@on_virtual_time
async def test_a_file_that_is_not_delivered_in_time_is_given_up_by_both(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        entry = await send(alice, tmp_path, expires_ms=alice.home.clock.now_ms() + 30_000)
        await begun(alice, bob)
        await asyncio.sleep(60)
        assert await alice.state(entry) == "expired"
        row = await row_of(bob)
        assert (row.state, row.error) == ("cancelled", "not delivered in time")
        assert list((tmp_path / "bob" / "blobs").iterdir()) == []


@pytest.mark.parametrize("how", ["reject", "pause"])
@on_virtual_time
async def test_whoever_waits_for_a_file_dials_for_it_until_it_is_given_up_or_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        slow(alice)
        await send(alice, tmp_path)
        await begun(alice, bob)
        dials_not(alice)
        dials = Dials(bob, monkeypatch)
        bob.peer.cut("the link broke")
        await asyncio.sleep(300)
        assert set(dials.waits_s[5:]) == {30}
        await getattr(bob.home.transfers, how)((await row_of(bob)).id)
        await asyncio.sleep(LOOK_AGAIN_DIALS * 30 + 600)
        assert dials.waits_s.count(30) <= LOOK_AGAIN_DIALS
        assert dials.waits_s[-1] == 300
