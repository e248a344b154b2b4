"""A session and its ends in time: who does not read, who breaks the rules, and what passes under a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from peerpost.node.session.lane import ANSWERS_BYTES
from peerpost.node.session.session import PARTING_S, UNREAD_ANSWERS_S, Session
from peerpost.store.tables.limits import RateLimit
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time, running

FILE_ID = b"f" * 16


def now_s() -> float:
    return running().time()


def session_of(somebody: Somebody) -> Session:
    session = somebody.peer.session
    assert session is not None
    return session


# -- who asks and does not read


@asynccontextmanager
async def who_asks_and_does_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Session, Session, asyncio.Event]]:
    """Make both sessions, Bob's full of answers, and an event that lets Alice read.

    The questions are Pulls for a file that nobody has: each is answered by a Cancel.
    """
    really, reads = Session._read, asyncio.Event()
    async with acquainted(folder, "alice", "bob") as (alice, bob):

        async def read(session: Session, lane: wire.Lane) -> None:
            if session is alice.peer.session:
                await reads.wait()
            await really(session, lane)

        monkeypatch.setattr(Session, "_read", read)
        before = (None, session_of(alice), session_of(bob))
        alice.peer.cut("to begin anew")
        # Bob may keep the old session for a moment, in which nobody asks.
        await until(lambda: alice.peer.session not in before and bob.peer.session not in before)
        answering = session_of(bob)
        while answering.queued_bytes(wire.Lane.URGENT) < ANSWERS_BYTES:
            ask(session_of(alice), 100)
            await asyncio.sleep(0.01)
        yield session_of(alice), answering, reads


def ask(session: Session, times: int) -> None:
    pull = wire.encode(wire.Pull(file_id=FILE_ID, leaves_first=0, leaves_count=1))
    for _ in range(times):
        session.send(wire.Lane.URGENT, pull)


@on_virtual_time
async def test_who_asks_and_does_not_read_is_read_no_more_and_left_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with who_asks_and_does_not_read(tmp_path, monkeypatch) as (asking, answering, _):
        begun_s = now_s()
        ask(asking, 5000)
        most = 0
        async with asyncio.timeout(2 * UNREAD_ANSWERS_S):
            while answering.cause is None:
                most = max(most, answering.queued_bytes(wire.Lane.URGENT))
                await asyncio.sleep(0.5)
        assert answering.cause == "the peer asks and does not read"
        assert now_s() - begun_s == pytest.approx(UNREAD_ANSWERS_S, abs=1)
        assert most < 2 * ANSWERS_BYTES
        # It stays for a moment to say so, to somebody who does not read that either.
        await asyncio.wait_for(answering.connection.wait_closed(), PARTING_S + 0.1)


@on_virtual_time
async def test_who_reads_in_time_gets_all_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with who_asks_and_does_not_read(tmp_path, monkeypatch) as (asking, answering, reads):
        await asyncio.sleep(UNREAD_ANSWERS_S - 1)
        reads.set()
        await until(lambda: answering.queued_bytes(wire.Lane.URGENT) == 0)
        ask(asking, 10)
        await asyncio.sleep(2 * UNREAD_ANSWERS_S)
        assert (asking.cause, answering.cause) == (None, None)


# -- who breaks the rules


@on_virtual_time
async def test_who_breaks_the_rules_is_told_before_the_session_ends(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob", latency_s=0.05) as (alice, bob):
        breaking, broken, begun_s = session_of(alice), session_of(bob), now_s()
        breaking.send(wire.Lane.URGENT, b"")
        await until(lambda: breaking.cause is not None)
        assert broken.cause is not None
        assert breaking.cause == f"the contact ended the session: {broken.cause}"
        assert now_s() - begun_s == pytest.approx(2 * 0.05, abs=0.03)
        # It is the one that was told who ends the connection: a moment later both ends are gone.
        await asyncio.wait_for(broken.connection.wait_closed(), 0.1)


@on_virtual_time
async def test_who_is_told_and_does_not_go_is_left(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob", latency_s=0.05) as (alice, bob):
        broken, network = session_of(bob), alice.transport.network
        session_of(alice).send(wire.Lane.URGENT, b"")
        await until(lambda: broken.cause is not None)
        network.partition({alice.transport.peer_id}, {bob.transport.peer_id})
        begun_s = now_s()
        await broken.connection.wait_closed()
        assert now_s() - begun_s == pytest.approx(PARTING_S, abs=0.02)
        network.heal()


# -- what passes


async def arrivals(somebody: Somebody, count: int) -> list[float]:
    """Return when each of some texts has arrived."""
    at_s: list[float] = []
    async with asyncio.timeout(600):
        while len(at_s) < count:
            at_s += [now_s()] * (len(await somebody.received()) - len(at_s))
            await asyncio.sleep(0.02)
    return at_s


@on_virtual_time
async def test_texts_leave_at_the_rate_of_a_limit(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        alice.home.services.limits.change(RateLimit(messages_s=2))
        for number in range(8):
            await alice.queue(str(number))
        at_s = await arrivals(bob, 8)
        gaps = [later - before for before, later in pairwise(at_s)]
        assert gaps == pytest.approx([0.5] * 7, abs=0.05)


@on_virtual_time
async def test_what_was_read_is_paid_for_before_more_is_read(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        bob.home.services.limits.change(RateLimit(messages_s=2))
        for number in range(12):
            await alice.queue(str(number))
        begun_s = now_s()
        await arrivals(bob, 12)  # They came in a few reads, and are stored at once.
        await alice.queue("and one more")
        at_s = await arrivals(bob, 13)
        assert at_s[-1] - begun_s == pytest.approx(11 * 0.5, abs=0.6)
        # A limit that is lifted holds nobody any longer.
        await alice.queue("another")
        await asyncio.sleep(0.1)
        bob.home.services.limits.change(RateLimit())
        begun_s = now_s()
        await arrivals(bob, 14)
        assert now_s() - begun_s < 0.1


@on_virtual_time
async def test_a_new_key_is_agreed_on_every_hour(tmp_path: Path) -> None:
    """An epoch is opened by the first message after its time, and costs nothing while none is sent."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        writer = session_of(alice)._writers[wire.Lane.URGENT]

        async def epoch() -> bytes:
            entry = await alice.queue("hello")
            await until(lambda: alice.delivered(entry))
            assert writer._epoch is not None
            return writer._epoch.epoch

        first = await epoch()
        await asyncio.sleep(limits.EPOCH_SECONDS - 5)
        assert await epoch() == first
        await asyncio.sleep(5)
        second = await epoch()
        assert second != first
        await asyncio.sleep(limits.EPOCH_SECONDS)
        assert await epoch() not in (first, second)
        assert len(await bob.received()) == 4
