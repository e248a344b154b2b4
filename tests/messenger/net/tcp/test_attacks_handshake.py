"""What a stranger can do before and within the handshake: nothing that anybody else notices."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
import trio
from libp2p.abc import IRawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as NoiseTransport

from peerpost.errors import PeerpostError
from peerpost.net.interface import Admission, DialError
from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp.transport import HANDSHAKES, LibP2PTransport
from peerpost.net.tcp.upgrade import Upgrade
from tests.support.hostile_net import (
    MULTISTREAM,
    RawPeer,
    RawServer,
    is_closed,
    liar,
    line,
    raw_connection,
    target,
    victim,
)
from tests.support.net_rig import LOOPBACK, PROTOCOLS, on_loop, running, seed, until

NOISE = line(b"/noise")
NA = line(b"na")
NOT_UTF8 = b"\x05\xff\xfe\xfd\xfc\n"
INSECURE = [b"/plaintext/2.0.0", b"/plaintext/1.0.0", b"/secio/1.0.0", b"/tls/1.0.0", b"/ls"]


def transport(name: str) -> LibP2PTransport:
    return LibP2PTransport(seed(name), [LOOPBACK], lambda _: Admission.KNOWN, PROTOCOLS)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up what hangs sooner than in earnest, so that the tests do not wait for it."""
    assert libp2p.HANDSHAKE_TIMEOUT_S <= 5
    monkeypatch.setattr(libp2p, "HANDSHAKE_TIMEOUT_S", 1.5)


# -- nothing but Noise


@pytest.mark.parametrize("protocol", INSECURE)
@on_loop
async def test_nothing_but_noise_is_spoken(protocol: bytes) -> None:
    async with victim() as witness:
        reader, writer = await raw_connection(witness.victim)
        writer.write(MULTISTREAM + line(protocol))
        assert await reader.readexactly(len(MULTISTREAM + NA)) == MULTISTREAM + NA
        writer.write(b"I am whom you like" * 20)
        await is_closed(reader)
        writer.close()
        await witness.is_well()


@pytest.mark.parametrize("protocol", INSECURE)
@on_loop
async def test_nothing_but_noise_is_asked_for(protocol: bytes) -> None:
    """Also where who was dialled says he has nothing else."""
    async with RawServer().answering(MULTISTREAM, NA, line(protocol), b"x" * 100) as server:
        alice = transport("alice")
        async with running(alice):
            with pytest.raises(DialError):
                await alice.dial(transport("bob").peer_id, [server.address], timeout_s=3)
        assert bytes(server.heard).replace(MULTISTREAM, b"").replace(NOISE, b"") == b""


# -- lies about who it is

SIGNATURES = {"own": None, "none": b"", "zero": bytes(64), "long": bytes(5000)}


@pytest.mark.parametrize("signature", SIGNATURES)
@on_loop
async def test_whoever_dials_must_prove_its_key(signature: str) -> None:
    async with victim() as witness:

        async def lie(upgrade: Upgrade) -> None:
            stream = await trio.open_tcp_stream(*target(witness.victim))
            async with stream:
                await upgrade.outbound(stream, witness.victim.peer_id)

        upgrade = liar("friend", SIGNATURES[signature])
        with pytest.raises(PeerpostError):
            await asyncio.to_thread(trio.run, lie, upgrade)
        await witness.is_well()


@pytest.mark.parametrize("signature", SIGNATURES)
@on_loop
async def test_whoever_is_dialled_must_prove_its_key(signature: str) -> None:
    """Also the man in the middle, who knows everything of Bob but his key."""
    alice, bob = transport("alice"), transport("bob")
    loop = asyncio.get_running_loop()
    bound: asyncio.Future[int] = loop.create_future()
    fooled: list[str] = []

    causes = "handshake failed: InvalidSignature|ended within the handshake|too long"

    async def serve(upgrade: Upgrade) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        loop.call_soon_threadsafe(bound.set_result, listener.socket.getsockname()[1])
        async with listener, await listener.accept() as stream:
            with pytest.raises(PeerpostError):
                fooled.append((await upgrade.inbound(stream)).peer_id)

    serving = asyncio.ensure_future(
        asyncio.to_thread(trio.run, serve, liar("bob", SIGNATURES[signature]))
    )
    async with running(alice):
        with pytest.raises(DialError, match=causes):
            await alice.dial(bob.peer_id, [f"/ip4/127.0.0.1/tcp/{await bound}"])
    await serving
    assert not fooled


@on_loop
async def test_refused_peer_gets_no_muxer_and_no_stream() -> None:
    async with victim() as witness:
        before = len(witness.victim._connections)
        with pytest.raises(PeerpostError):
            await RawPeer.dial(witness.victim, "refused")
        assert len(witness.victim._connections) == before
        await witness.is_well()


@on_loop
async def test_gate_is_asked_again_when_the_handshake_is_over() -> None:
    answers = [Admission.KNOWN, Admission.REFUSED]
    bob = LibP2PTransport(seed("bob"), [LOOPBACK], lambda _: answers.pop(0), PROTOCOLS)
    async with running(bob):
        peer = await RawPeer.dial(bob)
        assert await peer.until_closed() == []
        peer.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bob.accept(), 0.05)


# -- bytes that are nothing


BEFORE_NOISE = {
    "not UTF-8": NOT_UTF8,
    "not UTF-8 as protocol": MULTISTREAM + NOT_UTF8,
    "no newline": b"\x05/noise",
    "empty line": b"\x00" * 50,
    "long varint": b"\xff" * 200,
    "huge line": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 4000,
    "huge protocol": MULTISTREAM + b"\x80\x80\x80\x80\x10" + b"x" * 4000,
    "many proposals": MULTISTREAM + line(b"/x") * 10_000,
    "HTTP": b"GET / HTTP/1.1\r\nHost: example\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(180),
    "huge Noise message": MULTISTREAM + NOISE + b"\xff\xff" + bytes(65535),
    "bad Noise message": MULTISTREAM + NOISE + b"\x00\x20" + bytes(32) + b"\x00\x40" + bytes(64),
    "empty Noise message": MULTISTREAM + NOISE + b"\x00\x00",
}


@pytest.mark.parametrize("what", BEFORE_NOISE)
@on_loop
async def test_nonsense_before_noise(what: str) -> None:
    async with victim() as witness:
        reader, writer = await raw_connection(witness.victim)
        tracemalloc.start()
        try:
            writer.write(BEFORE_NOISE[what])
            await is_closed(reader, 7)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2_000_000, "a claimed length was believed"
        writer.close()
        await witness.is_well()


@pytest.mark.parametrize("what", ["not UTF-8", "huge line", "empty line", "many proposals"])
@on_loop
async def test_nonsense_after_noise_instead_of_a_muxer(what: str) -> None:
    async with victim() as witness:

        async def talk() -> None:
            upgrade = Upgrade(seed("mallory"), bool)
            upgrade._noise = Instead(upgrade._noise, BEFORE_NOISE[what])  # type: ignore[assignment]
            async with await trio.open_tcp_stream(*target(witness.victim)) as stream:
                with pytest.raises(PeerpostError), trio.fail_after(7):
                    await upgrade.outbound(stream, witness.victim.peer_id)

        await asyncio.to_thread(trio.run, talk)
        await witness.is_well()


class Instead:
    """Says within Noise what is no muxer, and waits for the end."""

    def __init__(self, noise: NoiseTransport, nonsense: bytes) -> None:
        self._noise = noise
        self._nonsense = nonsense

    async def secure_outbound(self, connection: IRawConnection, peer_id: ID) -> None:
        secure = await self._noise.secure_outbound(connection, peer_id)
        await secure.write(self._nonsense)
        while True:
            await secure.read(1)


@on_loop
async def test_length_beyond_any_handshake_is_refused_before_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p, "HANDSHAKE_TIMEOUT_S", 60)
    async with victim() as witness:
        reader, writer = await raw_connection(witness.victim)
        writer.write(MULTISTREAM + NOISE + b"\xff\xff" + bytes(10))
        await is_closed(reader)
        writer.close()


# -- too many


@pytest.mark.parametrize("first", [b"", MULTISTREAM, MULTISTREAM + NOISE])
@on_loop
async def test_idle_connections_hold_no_one_out(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libp2p, "HANDSHAKE_TIMEOUT_S", 60)
    async with victim() as witness:
        idle = []
        for _ in range(400):
            reader, writer = await raw_connection(witness.victim)
            writer.write(first)
            idle.append((reader, writer))
        await witness.is_well()
        assert len(witness.victim._handshakes) <= HANDSHAKES
        await until(lambda: sum(r._eof or r.exception() is not None for r, _ in idle) >= 272)
        for _, writer in idle:
            writer.transport.abort()
        await until(lambda: not witness.victim._handshakes)


@on_loop
async def test_slots_come_free_again() -> None:
    """More come and go, one after another, than there are places for."""
    async with victim() as witness:
        for number in range(300):
            if number % 3:
                _, writer = await raw_connection(witness.victim)
                writer.write(MULTISTREAM)
                writer.transport.abort()
            else:
                friend = witness._friend
                connection = await friend.dial(witness.victim.peer_id, witness.victim.addresses)
                if number % 2:
                    connection.abort()
                else:
                    await connection.close()
        await until(lambda: len(witness.victim._connections) == 1)
        await until(lambda: not witness.victim._handshakes)
        await until(lambda: len(witness.victim._watchers) == 1)
        await witness.is_well()


@on_loop
async def test_one_peer_takes_only_its_share_of_the_connections() -> None:
    async with victim() as witness:
        peers = [await RawPeer.dial(witness.victim) for _ in range(10)]
        ends = [asyncio.ensure_future(peer.until_closed(30)) for peer in peers]
        await until(lambda: sum(end.done() for end in ends) == 10 - 3, 3)
        await witness.is_well()
        for peer in peers:
            peer.close()
        await asyncio.gather(*ends)


# -- dialling


@on_loop
async def test_silent_listener_is_given_up_and_not_held_against_the_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p, "HANDSHAKE_TIMEOUT_S", 60)
    alice, bob = transport("alice"), transport("bob")
    loop = asyncio.get_running_loop()
    async with RawServer().answering() as silent, running(alice, bob):
        began = loop.time()
        with pytest.raises(DialError, match="no answer"):
            await alice.dial(bob.peer_id, [silent.address], timeout_s=0.3)
        assert loop.time() - began < 3
        # Not even for a moment; and the silent one does not stand before the one that answers.
        for addresses in ([*bob.addresses], [silent.address, *bob.addresses]):
            connection = await alice.dial(bob.peer_id, addresses)
            assert connection.remote_address == bob.addresses[0]


@on_loop
async def test_what_is_no_peer_id() -> None:
    alice, bob = transport("alice"), transport("bob")
    async with running(alice, bob):
        for peer_id in ("", "12D3KooW", "not base58: 0OIl", "\N{SNOWMAN}"):
            with pytest.raises(DialError):
                await alice.dial(peer_id, bob.addresses)


def test_only_the_pinned_library_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peerpost.net.tcp.upgrade.VERSION", "0.8.2")
    with pytest.raises(RuntimeError, match=r"0\.8\.1 is installed"):
        Upgrade(seed("alice"), bool)
