"""When a contact is dialled again, to the second, on virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import UntrustedError
from peerpost.net.interface import Connection, DialError
from peerpost.node.clock import rfc3339
from peerpost.node.contact.peer import STEADY_S, TIE_S
from peerpost.node.contact.reach import DIAL_TIMEOUT_S
from peerpost.node.control.methods import contacts, invites
from peerpost.node.control.methods.queue import describe
from peerpost.node.session.session import Session
from tests.support.network_rig import Somebody, acquainted, strangers, until
from tests.support.virtual_time import on_virtual_time, running

GROWING = [1, 2, 4, 8, 16]
"""The bounds of the first waits."""


@pytest.fixture(autouse=True)
def longest_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every wait be as long as its bound."""
    monkeypatch.setattr(random, "random", lambda: 1.0)


class Dials:
    """The times at which somebody has dialled, in vain for as long as `fail` is set."""

    def __init__(self, somebody: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_s: list[float] = []
        self.fail = True
        self._dial = somebody.transport.dial
        monkeypatch.setattr(somebody.transport, "dial", self._note)

    async def _note(self, *args: Any, **more: Any) -> Connection:
        self.at_s.append(running().time())
        if self.fail:
            raise DialError("nobody is there")
        return await self._dial(*args, **more)

    @property
    def waits_s(self) -> list[float]:
        return [round(later - before, 3) for before, later in pairwise(self.at_s)]


def dials_not(somebody: Somebody) -> None:
    """Have only the other dial."""
    somebody.home.network.reach.transport = None


async def lost(one: Somebody, other: Somebody) -> None:
    """Have a session end that has lasted, and only the first dial again."""
    dials_not(other)
    await asyncio.sleep(2 * STEADY_S)
    one.peer.cut("the link broke")
    await asyncio.sleep(0)


@on_virtual_time
async def test_while_something_waits_the_waits_grow_to_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        dials = Dials(alice, monkeypatch)
        await lost(alice, bob)
        await asyncio.sleep(0.5)
        entry = await alice.queue("hello")
        await asyncio.sleep(150)
        assert dials.waits_s == [0.5, *GROWING, 30, 30, 30]
        next_s = dials.at_s[-1] + 30
        assert alice.peer.next_dial_s == pytest.approx(next_s)
        left_ms = round((next_s - running().time()) * 1000)
        shown = describe(alice.home, entry)["next_attempt"]
        assert shown[:-2] == rfc3339(running().clock.now_ms() + left_ms)[:-2]
        dials.fail = False
        await asyncio.sleep(30)
        assert await alice.delivered(entry)
        assert alice.peer.next_dial_s is None


@on_virtual_time
async def test_while_nothing_waits_they_grow_to_five_minutes_until_something_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        dials = Dials(alice, monkeypatch)
        await lost(alice, bob)
        await asyncio.sleep(1250)
        assert dials.waits_s == [*GROWING, 32, 64, 128, 256, 300, 300]
        first = len(dials.at_s)
        await alice.queue("hello")
        queued_s = running().time()
        await asyncio.sleep(40)
        assert dials.at_s[first] == pytest.approx(queued_s, abs=0.01)
        assert dials.waits_s[first:] == GROWING


@on_virtual_time
async def test_sessions_that_do_not_last_are_waited_for_ever_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk; one that has lasted is followed by the next at once."""
    began_s: list[float] = []
    lasts_s = STEADY_S - 0.01

    async def run(session: Session) -> None:
        if not session.connection.inbound:
            began_s.append(running().time())
            await asyncio.sleep(lasts_s)
            session.abort("a session that does not last")
        await session.connection.wait_closed()

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await lost(alice, bob)
        await until(lambda: alice.peer.online)
        monkeypatch.setattr(Session, "run", run)
        await lost(alice, bob)
        await asyncio.sleep(80)
        gaps = [later - before - lasts_s for before, later in pairwise(began_s)]
        assert gaps == pytest.approx([*GROWING, 30], abs=0.05)
        lasts_s = STEADY_S
        await asyncio.sleep(40)
        assert began_s[-1] - began_s[-2] == pytest.approx(STEADY_S, abs=0.05)


@on_virtual_time
async def test_a_dial_that_is_not_answered_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        dials = Dials(alice, monkeypatch)
        dials.fail = False
        await alice.queue("hello")
        alice.transport.network.partition({alice.transport.peer_id}, {bob.transport.peer_id})
        await lost(alice, bob)
        await asyncio.sleep(100)
        assert dials.waits_s[:4] == [DIAL_TIMEOUT_S + wait_s for wait_s in GROWING[:4]]
        assert "no answer" in str(alice.peer.last_error)
        alice.transport.network.heal()
        await asyncio.sleep(DIAL_TIMEOUT_S + 30)
        assert alice.peer.online


@pytest.mark.parametrize("apart_s", [0.0, TIE_S - 0.1, TIE_S + 0.1])
@pytest.mark.parametrize("first_is_smaller", [True, False])
@on_virtual_time
async def test_of_two_dials_at_once_that_of_the_smaller_key_stays_and_later_the_newer(
    tmp_path: Path, apart_s: float, *, first_is_smaller: bool
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as people:
        for somebody in people:
            dials_not(somebody)
        people[0].peer.cut("to begin anew")
        await until(lambda: not any(somebody.peer.online for somebody in people))
        one, other = sorted(
            people, key=lambda who: who.transport.peer_id, reverse=not first_is_smaller
        )
        for somebody in people:
            somebody.home.network.reach.transport = somebody.transport
        await one.peer._dial_once()
        assert one.peer.session is not None
        first = one.peer.session.connection
        await asyncio.sleep(apart_s)
        await other.peer._dial_once()
        await asyncio.sleep(0.5)
        for somebody in people:
            assert somebody.peer.session is not None
        assert one.peer.session is not None
        newer_stays = apart_s > TIE_S or not first_is_smaller
        assert (one.peer.session.connection is not first) is newer_stays
        assert one.peer.session.connection.inbound is newer_stays
        entry = await one.queue("over the one that stayed")
        await until(lambda: one.delivered(entry))


@on_virtual_time
async def test_a_guest_who_is_coming_and_does_not_come_is_dialled_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with strangers(tmp_path, "host", "guest") as (host, guest):
        dials = Dials(host, monkeypatch)
        invited = await invites.invite(host.home, host.request("contacts.invite", name="guest"))
        joined_s: list[float] = []
        really = host.home.network.add

        def add(*args: Any, **more: Any) -> Any:
            # The guest's connection breaks when the host has decided to serve it.
            joined_s.append(running().time())
            host.transport.network.cut()
            return really(*args, **more)

        monkeypatch.setattr(host.home.network, "add", add)
        dials_not(guest)
        ticket = str(invited["ticket"])
        guest.home.network.reach.transport = guest.transport
        await contacts.add(guest.home, guest.request("contacts.add", name="host", ticket=ticket))
        dials_not(guest)
        await asyncio.sleep(10)
        assert dials.at_s[0] - joined_s[0] == pytest.approx(5, abs=0.01)


@on_virtual_time
async def test_the_log_names_who_is_not_served_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        caplog.set_level(logging.WARNING)
        for _ in range(125):
            alice.peer.turned_away(UntrustedError("its identity has changed"))
            await asyncio.sleep(1)
    assert caplog.text.count("bob is not served") == 3
