"""What a contact or a stranger can make the node hold or wait for: each bound, reached in earnest."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import PeerpostError
from peerpost.net.interface import Admission, Connection, DialError, StreamResetError
from peerpost.node.contact import exchange, reach
from peerpost.node.contact import network as network_module
from peerpost.node.contact.handshake import HELLO_TIMEOUT_S, LANES_TIMEOUT_S, greet
from peerpost.node.session.session import BULK_PROTOCOL, HELLO_PROTOCOL, URGENT_PROTOCOL
from peerpost.protocol.hello import Hello
from peerpost.store.tables import contacts, transfers
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.messenger.node.contact.test_session_rules import OUTBOX, SOON_S, session_of, text
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.store_rig import message
from tests.support.virtual_time import on_virtual_time, running

MOST_OPEN = 32
"""Files of one contact that are open at once."""
READ_BYTES = 256 << 10
"""What one read of a stream may bring beyond a bound."""


async def raw_dial(one: Somebody, other: Somebody) -> Connection:
    """Connect, and say nothing."""
    peer_id, addresses = other.transport.peer_id, other.transport.addresses
    return await one.transport.dial(peer_id, addresses, timeout_s=SOON_S)


async def hello(one: Somebody, other: Somebody) -> Connection:
    """Connect and go through HELLO, but open no lane."""
    connection = await raw_dial(one, other)
    way = one.home.network.reach
    greeting = await way.prove(connection, way.meeting(await way.whom(one.peer.contact)))
    await greeting.stream.close()
    return connection


async def block(one: Somebody) -> None:
    """Block the only contact, as the store and the network know it."""
    contact = await one.store.write(contacts.set_state, one.peer.contact.id, "blocked")
    one.home.network.add(contact)
    one.peer.cut("blocked")


# -- who is let in


@pytest.mark.asyncio
async def test_a_blocked_contact_ends_within_the_handshake(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await block(bob)
        assert bob.home.network.gate(alice.transport.peer_id) is Admission.REFUSED
        with pytest.raises(DialError):
            await raw_dial(alice, bob)


@pytest.mark.asyncio
async def test_a_blocked_contact_under_a_key_not_known_yet_ends_in_hello(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await block(bob)
        monkeypatch.setattr(bob.transport, "_gate", lambda _: Admission.STRANGER)
        with pytest.raises(PeerpostError):
            await hello(alice, bob)
        assert not bob.peer.online


@pytest.mark.asyncio
async def test_only_so_many_hellos_are_under_way_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = began = 0

    async def counted(connection: Connection, **more: Any) -> Any:
        nonlocal running, most, began
        if not connection.inbound:
            return await greet(connection, **more)
        running, began = running + 1, began + 1
        most = max(most, running)
        try:
            return await greet(connection, **more)
        finally:
            running -= 1

    monkeypatch.setattr(network_module, "GREETING_LIMIT", 3)
    monkeypatch.setattr(network_module, "GREETINGS_PER_CONTACT", 100)
    monkeypatch.setattr(reach, "greet", counted)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        held = [await raw_dial(alice, bob) for _ in range(6)]
        await until(lambda: running >= 3, timeout_s=SOON_S)
        await asyncio.sleep(0.3)
        assert most == 3
        for connection in held:
            connection.abort()
        await until(lambda: began >= 7, timeout_s=SOON_S)  # The others had their turn.
        assert most == 3


@pytest.mark.parametrize("says", ["nothing", "half a frame"])
@on_virtual_time
async def test_who_does_not_finish_hello_in_time_is_shown_out(tmp_path: Path, says: str) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        connection, begun_s = await raw_dial(alice, bob), running().time()
        if says == "half a frame":
            stream = await connection.open_stream(HELLO_PROTOCOL)
            await stream.write(b"\0\0\1\0half")
        await connection.wait_closed()
        assert running().time() - begun_s == pytest.approx(HELLO_TIMEOUT_S, abs=0.05)
        assert bob.peer.session is session, "the session that there was goes on"


@on_virtual_time
async def test_who_does_not_open_its_lanes_in_time_is_shown_out(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        session = session_of(bob)
        connection, begun_s = await hello(alice, bob), running().time()
        await connection.wait_closed()
        assert running().time() - begun_s == pytest.approx(LANES_TIMEOUT_S, abs=0.05)
        assert bob.peer.session is session, "the session that there was goes on"


# -- the order of streams


@pytest.mark.parametrize("first", [URGENT_PROTOCOL, BULK_PROTOCOL])
@pytest.mark.asyncio
async def test_a_first_stream_that_is_not_hello_ends_the_connection(
    tmp_path: Path, first: str
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        connection = await raw_dial(alice, bob)
        await connection.open_stream(first, timeout_s=SOON_S)
        # Sooner than for want of HELLO.
        await asyncio.wait_for(connection.wait_closed(), HELLO_TIMEOUT_S / 2)


@pytest.mark.parametrize(
    "protocols", [(BULK_PROTOCOL, BULK_PROTOCOL), (HELLO_PROTOCOL,)], ids=["twice", "hello again"]
)
@pytest.mark.asyncio
async def test_a_stream_that_is_open_already_or_was_hellos_is_refused(
    tmp_path: Path, protocols: tuple[str, ...]
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        before = bob.peer.session
        connection = await hello(alice, bob)
        for protocol in protocols:
            stream = await connection.open_stream(protocol, timeout_s=SOON_S)
        # That stream alone: the connection and the session are none the worse.
        with pytest.raises(StreamResetError):
            await asyncio.wait_for(stream.read(1), SOON_S)
        assert bob.peer.session is before
        await connection.close()


@pytest.mark.asyncio
async def test_a_dialer_opens_nothing_before_hello_has_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    really = Hello.receive

    def receive(hello: Hello, payload: bytes) -> bytes:
        answer = really(hello, payload)
        if hello.done is not None:
            said.append("HELLO is done")
        return answer

    async def away(*_args: Any, **_more: Any) -> Any:
        raise DialError("bob leaves the dialling to alice")

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        monkeypatch.setattr(Hello, "receive", receive)
        monkeypatch.setattr(bob.transport, "dial", away)
        dial = alice.transport.dial

        async def watched(*args: Any, **more: Any) -> Any:
            connection = await dial(*args, **more)
            open_stream = connection.open_stream

            async def opened(protocol: str, **how: Any) -> Any:
                said.append(protocol)
                return await open_stream(protocol, **how)

            monkeypatch.setattr(connection, "open_stream", opened)
            return connection

        monkeypatch.setattr(alice.transport, "dial", watched)
        alice.peer.retry_now()
        alice.peer.cut("to dial again")
        await until(lambda: URGENT_PROTOCOL in said and BULK_PROTOCOL in said)
    assert said[:2] == [HELLO_PROTOCOL, "HELLO is done"]
    assert set(said[2:]) - {"HELLO is done"} == {URGENT_PROTOCOL, BULK_PROTOCOL}


# -- what a session may bring


@pytest.mark.parametrize("by", ["number", "size"])
@pytest.mark.asyncio
async def test_while_the_disk_is_busy_only_so_much_is_taken_from_the_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    body, count = (b"x", 1500) if by == "number" else (bytes(60_000), 40)
    if by == "number":
        monkeypatch.setattr(exchange, "PENDING_MESSAGES", 20)
    else:
        monkeypatch.setattr(exchange, "PENDING_BYTES", 200_000)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        release = threading.Event()
        held = asyncio.get_running_loop().create_task(
            bob.store.write(lambda _db: release.wait(SOON_S) and None)
        )
        arriving = bob.peer._exchange
        assert arriving is not None
        for seq in range(1, count + 1):
            session_of(alice).send(wire.Lane.URGENT, text(seq, body=body))
        most = 0
        for _ in range(20):
            await asyncio.sleep(0.05)
            most = max(most, sum(len(m.body) + 1000 for m, _ in arriving._pending))
        release.set()
        await held
        # One batch is at the disk, one read comes on top; everything would be 1.5 MB and 2.4 MB.
        assert 0 < most <= (20 * 1001 if by == "number" else 261_000) + READ_BYTES + 65_000
        await until(lambda: bob.peer.online and _all_there(bob, count))


async def _all_there(somebody: Somebody, count: int) -> bool:
    return len(await somebody.received()) == count


def an_offer(seq: int, *, size: int) -> bytes:
    offer = wire.Offer(
        file_id=seq.to_bytes(16, "big"), key=bytes(32), chunk_log2=18, size=size, name="file"
    )
    made, _ = message(
        seq, body=wire.encode_offer(offer), outbox_id=OUTBOX, lane=1, kind=wire.Kind.OFFER
    )
    return wire.encode(made)


def silence(somebody: Somebody) -> None:
    """Have somebody answer no request for a file: it has none of those that are offered by hand."""

    async def on_control(*_: Any) -> None:
        pass

    somebody.home.transfers.on_control = on_control  # type: ignore[method-assign]


@pytest.mark.asyncio
async def test_only_so_many_files_of_a_contact_are_open_at_once(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        silence(alice)
        counts: list[int] = []
        most_at_once(bob, counts)
        for seq in range(1, MOST_OPEN + 21):
            session_of(alice).send(wire.Lane.BULK, an_offer(seq, size=1000))
        await until(lambda: _settled(bob), timeout_s=SOON_S)
        assert 0 < len(bob.home.transfers._drivers.downloads) <= MOST_OPEN
        assert max(counts) <= MOST_OPEN


def most_at_once(somebody: Somebody, counts: list[int]) -> None:
    """Note how many files come in, whenever another begins."""
    drivers = somebody.home.transfers._drivers
    really = drivers.download

    def begin(row: transfers.Transfer) -> Any:
        download = really(row)
        counts.append(len(drivers.downloads))
        return download

    drivers.download = begin  # type: ignore[method-assign]


async def _settled(somebody: Somebody) -> bool:
    """Tell whether nothing more is decided: the files open are the same a little later."""
    before = set(somebody.home.transfers._drivers.downloads)
    await asyncio.sleep(0.3)
    return bool(before) and set(somebody.home.transfers._drivers.downloads) == before


@pytest.mark.parametrize("size", [9 << 30, limits.MAX_FILE_BYTES])
@pytest.mark.asyncio
async def test_a_file_that_does_not_fit_beside_the_reserve_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    total, free = 20 << 30, 9 << 30
    usage = shutil._ntuple_diskusage(total, total - free, free)  # type: ignore[attr-defined]
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        silence(alice)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        await bob.store.write(contacts.edit, bob.peer.contact.id, accept=str(limits.MAX_FILE_BYTES))
        session_of(alice).send(wire.Lane.BULK, an_offer(1, size=1000))
        await until(lambda: len(bob.home.transfers._drivers.downloads) == 1, timeout_s=SOON_S)
        session_of(alice).send(wire.Lane.BULK, an_offer(2, size=size))
        await until(lambda: _offered(bob, 2), timeout_s=SOON_S)
        await asyncio.sleep(0.3)
        assert len(bob.home.transfers._drivers.downloads) == 1


@pytest.mark.asyncio
async def test_two_files_that_fit_alone_and_not_together_are_not_begun_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(20 << 30, 11 << 30, 9 << 30)  # type: ignore[attr-defined]
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        silence(alice)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        await bob.store.write(contacts.edit, bob.peer.contact.id, accept=str(limits.MAX_FILE_BYTES))
        for number in (1, 2):
            session_of(alice).send(wire.Lane.BULK, an_offer(number, size=5 << 30))
            await until(lambda n=number: _offered(bob, n), timeout_s=SOON_S)
        await until(lambda: len(bob.home.transfers._drivers.downloads) == 1, timeout_s=SOON_S)
        await until(lambda: _waits(bob), timeout_s=SOON_S)
        assert len(bob.home.transfers._drivers.downloads) == 1


async def _waits(somebody: Somebody) -> bool:
    return bool(await somebody.store.read(transfers.select, "error LIKE 'the disk lacks%'"))


async def _offered(somebody: Somebody, count: int) -> bool:
    query = "SELECT count(*) FROM transfers WHERE incoming = 1"
    return bool(await somebody.store.read(lambda db: db.execute(query).get) == count)
