"""Who is served: an invitation is kept before its guest is told, and what speaks against a contact is remembered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.crypto import statement as statements
from peerpost.crypto.keys import Ed25519KeyPair, peer_id
from peerpost.errors import BadInputError, UntrustedError
from peerpost.net.interface import Admission, ConnectionLostError
from peerpost.node import me as my_own
from peerpost.node.contact.doorway import Doorway
from peerpost.node.control.methods import contacts, invites, trust
from peerpost.node.session.session import Session
from peerpost.protocol.hello import Hello
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import identity, meetings
from peerpost.wire import inner as wire
from peerpost.wire.statement import Signed, decode_statement
from peerpost.wire.ticket import Ticket
from tests.support.network_rig import Somebody, acquainted, strangers, until
from tests.support.virtual_time import on_virtual_time


async def ticket_of(host: Somebody, name: str) -> str:
    return str(
        (await invites.invite(host.home, host.request("contacts.invite", name=name)))["ticket"]
    )


async def add(guest: Somebody, ticket: str) -> dict[str, Any]:
    return await contacts.add(guest.home, guest.request("contacts.add", name="host", ticket=ticket))


# -- commit, then answer


@pytest.mark.parametrize("fails_with", [apsw.FullError, apsw.IOError])
@on_virtual_time
async def test_a_guest_is_told_nothing_before_the_host_has_it_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_with: type[Exception]
) -> None:
    async with strangers(tmp_path, "host", "guest") as (host, guest):
        really, fails = meetings.met, True

        def met(db: apsw.Connection, *arguments: Any) -> meetings.Met:
            found = really(db, *arguments)
            if fails and found.contact.name == "bob":
                raise fails_with("the host's disk does not take it")
            return found

        monkeypatch.setattr(meetings, "met", met)
        added = await add(guest, await ticket_of(host, "bob"))
        assert added["state"] == "pending"
        assert not host.home.network.peers
        kept = await guest.store.read(store_contacts.find, "host")
        assert kept.ticket_secret is not None
        assert "try again later" in str(guest.peer.last_error)
        fails = False
        guest.peer.retry_now()
        await until(lambda: guest.peer.online and host.peer.online)
        assert guest.peer.contact.state == host.peer.contact.state == "active"
        kept = await guest.store.read(store_contacts.find, "host")
        assert kept.ticket_secret is None


@on_virtual_time
async def test_an_answer_that_was_lost_makes_no_second_contact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, lost, loses = Hello.answer, 0, True

    def answer(hello: Hello, *arguments: Any) -> bytes:
        nonlocal lost
        if loses:
            lost += 1
            raise ConnectionLostError("killed between the commit and the answer")
        return really(hello, *arguments)

    monkeypatch.setattr(Hello, "answer", answer)
    async with strangers(tmp_path, "host", "guest") as (host, guest):
        ticket = await ticket_of(host, "bob")
        assert (await add(guest, ticket))["state"] == "pending"
        assert host.peer.contact.state == "active"
        assert (await guest.store.read(store_contacts.find, "host")).ticket_secret is not None
        loses = False
        guest.peer.retry_now()
        await until(lambda: guest.peer.online and host.peer.online)
        assert lost
        assert guest.peer.contact.state == "active"
        assert [c.name for c in await host.store.read(store_contacts.list_all)] == ["bob"]


@on_virtual_time
async def test_of_two_who_redeem_one_ticket_at_once_the_other_is_told(tmp_path: Path) -> None:
    async with strangers(tmp_path, "host", "one", "two") as (host, one, two):
        ticket = await ticket_of(host, "bob")
        # Into the background, where there is nobody to say it to at once.
        for guest in (one, two):
            await guest.store.write(
                store_contacts.add,
                name="host",
                id_public=host.home.me.id_public,
                transport_public=host.home.me.transport.public,
                addresses=tuple(host.transport.addresses),
                ticket_secret=Ticket.decode(ticket).secret,
                ticket_expires_s=2**31,
                now_ms=1,
            )
            guest.home.network.add(await guest.store.read(store_contacts.find, "host"))
        await until(
            lambda: {one.peer.contact.state, two.peer.contact.state} == {"active", "expired"}
        )
        loser = one if one.peer.contact.state == "expired" else two
        shown = await contacts.show(loser.home, loser.request("contacts.show", name="host"))
        assert "whoever made the ticket does not take it" in shown["last_error"]
        assert "used" in shown["last_error"]
        assert host.peer.contact.state == "active"


# -- statements that contradict each other


async def signs(somebody: Somebody, before: Signed, seq: int) -> Signed:
    """Have somebody show a statement of that number after another."""
    row = await somebody.store.read(identity.load)
    signed = my_own._sign(
        row,
        seq=seq,
        prev=statements.digest(before.body),
        addresses=somebody.home.me.addresses,
        now_ms=somebody.home.clock.now_ms(),
    )
    somebody.home.me.signed = signed
    return signed


def dials_not(somebody: Somebody) -> None:
    """Have only the other dial."""
    somebody.home.network.reach.transport = None


def seq_of(somebody: Somebody) -> int:
    return decode_statement(somebody.home.me.signed.body).seq


@pytest.mark.parametrize("dialer", [True, False])
@pytest.mark.parametrize("moved", [True, False])
@on_virtual_time
async def test_a_home_put_back_from_a_copy_goes_on_after_what_its_contact_keeps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, dialer: bool, moved: bool
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        back, other = (alice, bob) if dialer else (bob, alice)
        old = back.home.me.signed
        newest = await signs(back, old, seq_of(back) + 5)
        dials_not(bob)
        alice.peer.cut("to meet again")
        await until(lambda: other.peer.contact.signed == newest and other.peer.online)
        back.home.me.signed = old
        if moved:
            await signs(back, old, seq_of(back) + 1)
        alice.peer.cut("the home was put back")
        await until(lambda: seq_of(back) > decode_statement(newest.body).seq)
        alice.peer.retry_now()
        await until(lambda: alice.peer.online and bob.peer.online)
        assert (await back.store.read(identity.load)).statement == back.home.me.signed
        assert other.peer.contact.signed == back.home.me.signed
        assert other.peer.contact.went_back_ms is not None
        entry = await back.queue("still here")
        await until(lambda: back.delivered(entry))
    assert "an older key statement than the one known" in caplog.text
    assert "put back from an older copy" in caplog.text


@on_virtual_time
async def test_two_homes_of_one_identity_do_not_overtake_each_other_without_end(
    tmp_path: Path,
) -> None:
    async with strangers(tmp_path, "alice") as (alice,):
        first = alice.home.me.signed
        newer = await signs(alice, first, seq_of(alice) + 10)
        newest = await signs(alice, newer, seq_of(alice) + 10**15)
        alice.home.me.signed = first
        assert await alice.home.me.overtake(alice.store, newer)
        assert seq_of(alice) >= decode_statement(newer.body).seq + 2
        assert not await alice.home.me.overtake(alice.store, newest)
        forged = Signed(body=newest.body, sig=bytes(64))
        assert not await alice.home.me.overtake(alice.store, forged)
        assert await alice.home.me.overtake(alice.store, newer), "what is known is no news"


@pytest.mark.parametrize("follows", [True, False])
@on_virtual_time
async def test_who_signs_two_statements_of_one_number_is_served_again_once_verified(
    tmp_path: Path, *, follows: bool
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        kept = bob.home.me.signed
        other = await signs(bob, alice.home.me.signed, seq_of(bob) + follows)
        alice.peer.cut("to meet again")
        await until(lambda: alice.peer.contact.state == "changed")
        await until(lambda: "two key statements" in str(bob.peer.last_error))
        assert not alice.peer.online
        entry = await alice.queue("not to a copy")
        # The one whose statement is kept is not served either: nobody knows which of them is Bob.
        bob.home.me.signed = kept
        bob.peer.retry_now()
        alice.peer.retry_now()
        await asyncio.sleep(0.3)
        assert not alice.peer.online
        assert not bob.peer.online
        assert await alice.state(entry) == "queued"
        assert (await alice.store.read(store_contacts.find, "bob")).state == "changed"
        (row,) = await contacts.list_(alice.home, alice.request("contacts.list"))
        assert row["state"] == "changed"

        async def verify(**params: str) -> dict[str, Any]:
            request = alice.request("contacts.verify", name="bob", **params)
            return await trust.verify(alice.home, request)

        number = (await verify())["safety_number"]
        with pytest.raises(UntrustedError) as caught:
            await verify(safety_number=number[:-1] + str(9 - int(number[-1])))
        assert caught.value.exit_code == 76
        for part in (number[:-6], number + " 1", "12345", "x" * 60):
            with pytest.raises(BadInputError, match="twelve groups"):
                await verify(safety_number=part)
        assert alice.peer.contact.state == "changed"
        bob.home.me.signed = other
        told = await verify(safety_number=number.replace(" ", ""))
        assert (told["state"], told["verified"]) == ("active", True)
        bob.peer.retry_now()
        await until(lambda: alice.delivered(entry))
        assert alice.peer.contact.signed == other


# -- removed, blocked


@pytest.mark.parametrize("how", ["remove", "block", "changed"])
@on_virtual_time
async def test_no_hello_that_is_half_open_makes_a_session_with_who_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Bob's dial is past HELLO at Alice's, who waits for his lanes, when she cuts him off."""
    from peerpost.node.contact import peer as peers

    async with acquainted(tmp_path, "bob", "alice") as (bob, alice):
        dials_not(alice)
        really, at_lanes, go_on = peers.open_lanes, asyncio.Event(), asyncio.Event()

        async def open_lanes(connection: Any, greeting: Any) -> Any:
            if not connection.inbound:
                at_lanes.set()
                await go_on.wait()
            return await really(connection, greeting)

        monkeypatch.setattr(peers, "open_lanes", open_lanes)
        was = alice.peer
        bob.peer.cut("to dial again")
        await at_lanes.wait()
        await until(lambda: was.session is None)
        if how == "remove":
            await contacts.remove(alice.home, alice.request("contacts.remove", name="bob"))
            assert not alice.home.network.peers
        elif how == "block":
            told = await trust.block(alice.home, alice.request("contacts.block", name="bob"))
            assert told["state"] == "blocked"
        else:
            kept = was.contact.signed
            assert kept is not None
            await signs(bob, alice.home.me.signed, decode_statement(kept.body).seq)
            found = await alice.store.write(
                meetings.met, bob.home.me.id_public, bob.home.me.signed, None, 1
            )
            alice.home.network.update(found.contact)
        go_on.set()
        await asyncio.sleep(0.5)
        assert was.session is None
        assert not bob.peer.online
        assert [c.name for c in await alice.store.read(store_contacts.list_all)] == (
            [] if how == "remove" else ["bob"]
        )


@on_virtual_time
async def test_a_hello_whose_verdict_is_being_kept_does_not_bring_back_who_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "bob", "alice") as (bob, alice):
        was, store = alice.peer, alice.store
        dials_not(alice)
        bob.peer.cut("to dial again")
        removal: asyncio.Task[Any] | None = None
        really = store.write

        async def write(work: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal removal
            kept = await really(work, *arguments, **named)
            if work is meetings.met and removal is None:
                request = alice.request("contacts.remove", name="bob")
                removal = asyncio.create_task(contacts.remove(alice.home, request))
                await removal
            return kept

        monkeypatch.setattr(store, "write", write)
        await until(lambda: removal is not None and removal.done())
        await asyncio.sleep(0.3)
        assert was.session is None
        assert not alice.home.network.peers
        assert not bob.peer.online
        assert await alice.store.read(store_contacts.list_all) == []


@on_virtual_time
async def test_who_is_blocked_is_told_nothing_and_what_is_queued_waits(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "bob", "alice") as (bob, alice):
        await trust.block(alice.home, alice.request("contacts.block", name="bob"))
        await until(lambda: not bob.peer.online)
        for _ in range(3):
            bob.peer.retry_now()
            await asyncio.sleep(0.1)
        assert not alice.peer.online
        assert not bob.peer.online
        entry = await alice.queue("later")
        assert await alice.state(entry) == "queued"
        told = await trust.unblock(alice.home, alice.request("contacts.unblock", name="bob"))
        assert told["state"] == "active"
        bob.peer.retry_now()
        await until(lambda: alice.delivered(entry))


# -- why a session ended


@pytest.mark.parametrize("lane", list(wire.Lane))
@on_virtual_time
async def test_who_breaks_the_protocol_is_told_what_it_did(tmp_path: Path, lane: wire.Lane) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = bob.peer.session
        assert session is not None
        entry = await alice.queue("on its way")
        # A receipt for what Alice never sent on that lane, without its fields.
        session.send(lane, b"\x10\x90")
        await until(lambda: session.cause is not None)
        assert session.cause == "the contact ended the session: malformed Receipt"
        await until(lambda: alice.delivered(entry))


@on_virtual_time
async def test_who_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = bob.peer.session
        mine, really = alice.peer.session, Session._open
        assert session is not None
        assert mine is not None
        monkeypatch.setattr(type(session), "_open", lambda *_: None)
        monkeypatch.setattr(mine, "_open", functools.partial(really, mine))
        session.send(wire.Lane.URGENT, b"\x10\x90")
        began = asyncio.get_running_loop().time()
        await until(lambda: alice.peer.session is not mine)
        assert asyncio.get_running_loop().time() - began < 2
        assert "malformed Receipt" in str(mine.cause)


# -- the door


@on_virtual_time
async def test_a_claimed_key_shuts_nobody_out_and_many_keys_open_no_more_places(
    tmp_path: Path,
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        network = alice.home.network
        mallory = await alice.store.write(
            store_contacts.add,
            name="mallory",
            id_public=bytes(range(32)),
            state="active",
            transport_public=bob.home.me.transport.public,
            now_ms=1,
        )
        network.add(mallory)
        peer_id = bob.home.me.peer_id
        assert set(network._roster.claimants(peer_id)) == set(network.peers)
        door = Doorway()
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(door.counted([mallory.id]))
            assert not door.has_room([mallory.id], 4)
            # Her other keys count as well, and what she claims of Bob's counts as his.
            for _ in range(4):
                assert door.has_room([mallory.id, "bob"], 4)
                stack.enter_context(door.counted([mallory.id, "bob"]))
            assert not door.has_room([mallory.id, "bob"], 4)
        assert door.has_room([mallory.id], 1)
        # Only Mallory is cut off, and goes: the key stays Bob's, and Bob himself is served.
        await trust.block(alice.home, alice.request("contacts.block", name="mallory"))
        assert network.gate(peer_id) is Admission.KNOWN
        await contacts.remove(alice.home, alice.request("contacts.remove", name="mallory"))
        assert network.gate(peer_id) is Admission.KNOWN
        was = network.named("bob")
        assert was is not None
        bob.peer.cut("to meet again")
        entry = await alice.queue("to Bob")
        await until(lambda: alice.delivered(entry))


@on_virtual_time
async def test_a_former_transport_key_opens_nothing_and_a_former_name_names_nobody(
    tmp_path: Path,
) -> None:
    async with strangers(tmp_path, "alice") as (alice,):
        network = alice.home.network
        keys = [Ed25519KeyPair.from_seed(bytes([number]) * 32).public for number in range(8)]
        bob = await alice.store.write(
            store_contacts.add,
            name="bob",
            id_public=bytes(32),
            transport_public=keys[0],
            now_ms=1,
        )
        network.add(bob)
        for number, key in enumerate(keys):
            changed = replace(bob, name=f"bob-{number}", ticket_transport=key)
            assert network.update(changed) is not None
            admitted = [network.gate(peer_id(key)) for key in keys]
            assert admitted.count(Admission.KNOWN) == 1
            assert network.gate(peer_id(key)) is Admission.KNOWN
            assert network.named("bob") is None
            assert network.named(changed.name) == changed
