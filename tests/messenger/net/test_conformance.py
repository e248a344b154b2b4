"""What every transport must do (`peerpost.net.interface`): over loopback, in memory, and with stock on one side."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID

from peerpost.errors import UnavailableError
from peerpost.net.interface import (
    Admission,
    ConnectionLostError,
    DialError,
)
from peerpost.net.unreached import place_of
from tests.support.net_rig import (
    CHAT,
    FILE,
    HELLO,
    LOOPBACK,
    Kind,
    everybody,
    on_loop,
    pair,
    pattern,
    quietly,
    running,
    settle,
)

DEAD = "/ip4/127.0.0.1/tcp/1"

# -- dial and accept


@on_loop
async def test_both_ends_know_each_other(kind: Kind) -> None:
    async with pair(kind) as net:
        assert (net.near.peer_id, net.far.peer_id) == (net.bob.peer_id, net.alice.peer_id)
        assert (net.near.inbound, net.far.inbound) == (False, True)
        assert net.near.remote_address == net.bob.addresses[0]
        assert net.far.remote_address.startswith("/ip4/127.0.0.1/tcp/")
        assert net.near.admission is net.far.admission is Admission.KNOWN
        assert net.bob.addresses[0] != LOOPBACK


@on_loop
async def test_peer_id_is_that_of_the_key(kind: Kind) -> None:
    public = Ed25519PrivateKey.from_bytes(b"\1" * 32).get_public_key()
    transport = kind.make(b"\1" * 32, [LOOPBACK], everybody, {})
    assert transport.peer_id == str(ID.from_pubkey(public))


@on_loop
async def test_wrong_peer_id_is_refused(kind: Kind) -> None:
    alice, bob, carol = kind.new("alice"), kind.new("bob"), kind.new("carol")
    async with running(alice, bob):
        with pytest.raises(DialError, match="another peer answers"):
            await alice.dial(carol.peer_id, bob.addresses)


@pytest.mark.parametrize("dead", [DEAD, "/ip4/127.0.0.1/udp/1", "nonsense"])
@pytest.mark.parametrize("first", ["dead", "live"])
@on_loop
async def test_dead_address_does_not_hide_a_live_one(kind: Kind, dead: str, first: str) -> None:
    alice, bob = kind.new("alice"), kind.new("bob")
    async with running(alice, bob):
        addresses = [dead, *bob.addresses] if first == "dead" else [*bob.addresses, dead]
        connection = await alice.dial(bob.peer_id, addresses)
        assert connection.remote_address == bob.addresses[0]


@on_loop
async def test_dial_names_the_cause_of_each_address(kind: Kind) -> None:
    alice, bob, carol = kind.new("alice"), kind.new("bob"), kind.new("carol")
    async with running(alice, bob, carol):
        addresses = [DEAD, *carol.addresses]
        with pytest.raises(DialError) as caught:
            await alice.dial(bob.peer_id, addresses)
        for address, cause in zip(
            addresses, ["nobody listens", "another peer answers"], strict=True
        ):
            assert f"{cause} at {place_of(address)}" in caught.value.message
        with pytest.raises(DialError, match="no address"):
            await alice.dial(bob.peer_id, [])


@on_loop
async def test_gate_refuses_before_there_is_a_connection(kind: Kind) -> None:
    alice = kind.new("alice")
    bob = kind.new("bob", lambda _: Admission.REFUSED)
    async with running(alice, bob):
        with pytest.raises(DialError):
            await alice.dial(bob.peer_id, bob.addresses)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bob.accept(), 0.05)


@on_loop
async def test_many_dial_at_once_in_both_directions(kind: Kind) -> None:
    alice, bob = kind.new("alice"), kind.new("bob")
    async with running(alice, bob):
        dials = [alice.dial(bob.peer_id, bob.addresses) for _ in range(4)]
        dials += [bob.dial(alice.peer_id, alice.addresses) for _ in range(4)]
        accepts = [t.accept() for t in (alice, bob) for _ in range(4)]
        dialled = await asyncio.gather(*dials)
        accepted = await asyncio.gather(*accepts)
        assert {c.peer_id for c in dialled} == {c.peer_id for c in accepted}
        assert len({id(c) for c in [*dialled, *accepted]}) == 16


@on_loop
async def test_cancelled_dials_leave_nothing(kind: Kind) -> None:
    alice, bob = kind.new("alice"), kind.new("bob")
    async with running(alice, bob):
        for step in range(20):
            dialling = asyncio.ensure_future(alice.dial(bob.peer_id, bob.addresses))
            await asyncio.sleep(0.0005 * step)
            dialling.cancel()
            results = await asyncio.gather(dialling, return_exceptions=True)
            for connection in results:
                if not isinstance(connection, BaseException):
                    connection.abort()

        async def greet() -> None:
            for left in reversed(range(kind.tries)):
                try:
                    good = await alice.dial(bob.peer_id, bob.addresses)
                    stream = await good.open_stream(CHAT)
                    await stream.write(b"good")
                    return
                except UnavailableError:
                    if not left:
                        raise
                    await asyncio.sleep(0.1)

        async def greeted() -> bytes:
            while True:
                far = await bob.accept()
                with contextlib.suppress(ConnectionLostError):
                    stream = await far.accept_stream()
                    if data := await stream.read():
                        return data

        await greet()
        assert await greeted() == b"good"


# -- strangers


@on_loop
async def test_stranger_has_one_stream_until_it_is_admitted(kind: Kind) -> None:
    alice = kind.new("alice")
    bob = kind.new("bob", lambda _: Admission.STRANGER)
    async with running(alice, bob):
        near = await alice.dial(bob.peer_id, bob.addresses)
        far = await bob.accept()
        assert far.admission is Admission.STRANGER
        hello, second = (asyncio.ensure_future(near.open_stream(p)) for p in (HELLO, CHAT))
        greeting = await far.accept_stream()
        assert greeting.protocol == HELLO
        await (await hello).write(b"hello")
        assert await greeting.read() == b"hello"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(far.accept_stream(), 0.1)
        assert not second.done()
        far.admit()
        assert far.admission is Admission.KNOWN
        assert (await far.accept_stream()).protocol == CHAT
        file = await near.open_stream(FILE)
        await asyncio.gather(file.write(pattern(300_000)), far.accept_stream())
        await second


@on_loop
async def test_stranger_that_says_too_much_is_shown_out(kind: Kind) -> None:
    alice = kind.new("alice")
    bob = kind.new("bob", lambda _: Admission.STRANGER)
    async with running(alice, bob):
        near = await alice.dial(bob.peer_id, bob.addresses)
        far = await bob.accept()
        stream, _ = await asyncio.gather(near.open_stream(HELLO), far.accept_stream())
        await quietly(stream.write(bytes(4000)))
        await asyncio.sleep(0.05)
        await quietly(stream.write(bytes(4000)))
        async with asyncio.timeout(2):
            await far.wait_closed()
            await near.wait_closed()


@on_loop
async def test_ninth_stranger_evicts_the_oldest_that_was_not_admitted(kind: Kind) -> None:
    bob = kind.new("bob", lambda _: Admission.STRANGER)
    strangers = [kind.new(f"stranger {n}") for n in range(10)]
    async with running(bob, *strangers):
        ends = []
        for stranger in strangers[:8]:
            await stranger.dial(bob.peer_id, bob.addresses)
            ends.append(await bob.accept())
        ends[0].admit()
        await strangers[8].dial(bob.peer_id, bob.addresses)
        ends.append(await bob.accept())
        await settle(50)
        waits = [asyncio.ensure_future(end.wait_closed()) for end in ends]
        await asyncio.sleep(0.05)
        assert [w.done() for w in waits] == [False] * 9, "there was room: one of eight was admitted"
        await strangers[9].dial(bob.peer_id, bob.addresses)
        await bob.accept()
        await waits[1]
        assert [w.done() for w in waits] == [False, True] + [False] * 7
    await asyncio.gather(*waits)


# -- life


@on_loop
async def test_after_stop_nothing_waits(kind: Kind) -> None:
    async with pair(kind) as net:
        accepting = [asyncio.ensure_future(net.bob.accept()) for _ in range(2)]
        dialling = asyncio.ensure_future(net.bob.dial(net.alice.peer_id, net.alice.addresses))
        await net.bob.stop()
        await net.bob.stop()
        results = await asyncio.gather(*accepting, dialling, return_exceptions=True)
        assert [type(r) for r in results[:2]] == [ConnectionLostError] * 2
        assert isinstance(results[2], DialError)
        for _ in range(2):
            with pytest.raises(ConnectionLostError):
                await net.bob.accept()
        with pytest.raises(DialError):
            await net.bob.dial(net.alice.peer_id, net.alice.addresses)
        assert not net.bob.addresses
        await net.near.wait_closed()


@on_loop
async def test_start_follows_stop(kind: Kind) -> None:
    async with pair(kind) as net:
        for _ in range(3):
            # One leaves while the other comes: they share more than the loop.
            await asyncio.gather(net.alice.stop(), net.bob.stop())
            await net.alice.start()
            await asyncio.gather(net.alice.stop(), net.bob.start())
            await net.alice.start()
            near, far = await asyncio.gather(
                net.alice.dial(net.bob.peer_id, net.bob.addresses), net.bob.accept()
            )
            stream, other = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
            await stream.write(b"again")
            assert await other.read() == b"again"


@on_loop
async def test_address_that_is_taken(kind: Kind) -> None:
    alice = kind.new("alice")
    async with running(alice):
        bob = kind.new("bob", listen=[LOOPBACK, *alice.addresses])
        with pytest.raises(UnavailableError, match="cannot listen"):
            await bob.start()
        assert not bob.addresses
        await bob.stop()
        with pytest.raises(DialError):
            await bob.dial(alice.peer_id, alice.addresses)
