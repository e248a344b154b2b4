"""Peers that break the rules: raw TCP, false claims within Noise, and raw frames after an honest handshake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import trio
from libp2p.crypto.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from libp2p.crypto.keys import KeyPair, PrivateKey, PublicKey

from peerpost.net.interface import Admission, Connection, Stream
from peerpost.net.mux.records import RecordOpener, RecordSealer
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.net.tcp.upgrade import Secured, Upgrade, _GatedNoise
from peerpost.wire.address import parse
from tests.support.net_rig import (
    CHAT,
    LOOPBACK,
    PROTOCOLS,
    echo,
    quietly,
    read_exactly,
    running,
    seed,
)

HEADER = struct.Struct("!BBHII")
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


def frame(kind: int, flags: int, stream_id: int, length: int | bytes, *, version: int = 0) -> bytes:
    """Return one Yamux frame; of data where `length` is bytes."""
    if isinstance(length, bytes):
        return HEADER.pack(version, kind, flags, stream_id, len(length)) + length
    return HEADER.pack(version, kind, flags, stream_id, length)


def line(text: bytes) -> bytes:
    """Return a multistream line."""
    assert len(text) < 127
    return bytes([len(text) + 1]) + text + b"\n"


MULTISTREAM = line(b"/multistream/1.0.0")
AGREE = MULTISTREAM + line(CHAT.encode())


class Reachable(Protocol):
    """A transport, or a host of another make."""

    @property
    def peer_id(self) -> str: ...
    @property
    def addresses(self) -> Sequence[str]: ...


def target(transport: Reachable) -> tuple[str, int]:
    """Return host and port where a transport listens."""
    where = parse(transport.addresses[0])
    return where.host, where.port


class RawPeer:
    """A peer that sends any frames that the test wants, after an honest handshake."""

    def __init__(
        self, secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.sealer = RecordSealer(secured.send_key, secured.send_counter)
        self.reader, self.writer = reader, writer
        self._opener = RecordOpener(secured.receive_key, secured.receive_counter)
        self._plaintext = bytearray(secured.early)

    @classmethod
    async def dial(
        cls, transport: Reachable, name: str = "mallory", source: str | None = None
    ) -> RawPeer:
        """Connect as somebody, from an address. Raises PeerpostError if the handshake fails."""
        secured = await asyncio.to_thread(
            trio.run, _secure, transport, Upgrade(seed(name), bool), source
        )
        return cls(secured, *await asyncio.open_connection(sock=secured.sock))

    @classmethod
    async def accept(cls, listener: socket.socket, name: str = "mallory") -> RawPeer:
        """Take the next connection as somebody."""
        secured = await asyncio.to_thread(trio.run, _accept, listener, Upgrade(seed(name), bool))
        return cls(secured, *await asyncio.open_connection(sock=secured.sock))

    async def send(self, *plaintexts: bytes) -> None:
        """Send one record for each."""
        with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop's own word for closed
            self.writer.write(self.sealer.seal(plaintexts))
            await self.writer.drain()

    async def send_raw(self, data: bytes) -> None:
        """Send what is no record."""
        with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop's own word for closed
            self.writer.write(data)
            await self.writer.drain()

    async def _bytes(self, size: int) -> bytes:
        while len(self._plaintext) < size:
            head = await self.reader.readexactly(2)
            body = await self.reader.readexactly(int.from_bytes(head, "big"))
            self._plaintext += self._opener.open(memoryview(body))
        taken = bytes(self._plaintext[:size])
        del self._plaintext[:size]
        return taken

    async def frame(self) -> tuple[int, int, int, bytes | int]:
        """Return kind, flags, stream and length or data of the next frame."""
        _, kind, flags, stream_id, length = HEADER.unpack(await self._bytes(HEADER.size))
        return kind, flags, stream_id, await self._bytes(length) if kind == DATA else length

    async def frames(self) -> AsyncIterator[tuple[int, int, int, bytes | int]]:
        """Yield frames until the connection ends."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                yield await self.frame()

    async def until_closed(self, timeout_s: float = 5.0) -> list[tuple[int, int, int, bytes | int]]:
        """Return what comes before the end of the connection, which must come in time."""
        async with asyncio.timeout(timeout_s):
            return [f async for f in self.frames()]

    async def agree(self, stream_id: int = 1, protocol: str = CHAT) -> None:
        """Open a stream for a protocol."""
        expected = MULTISTREAM + line(protocol.encode())
        await self.send(frame(DATA, SYN, stream_id, expected))
        async with asyncio.timeout(5):
            while expected:
                kind, _, number, data = await self.frame()
                if kind == DATA and number == stream_id:
                    assert isinstance(data, bytes)
                    assert expected.startswith(data)
                    expected = expected[len(data) :]

    def close(self) -> None:
        """Close without saying anything."""
        self.writer.transport.abort()


async def _secure(transport: Reachable, upgrade: Upgrade, source: str | None) -> Secured:
    stream = await trio.open_tcp_stream(*target(transport), local_address=source)
    try:
        return await upgrade.outbound(stream, transport.peer_id)
    finally:
        await stream.aclose()


async def _accept(listener: socket.socket, upgrade: Upgrade) -> Secured:
    sock, _ = await trio.socket.from_stdlib_socket(listener).accept()
    stream = trio.SocketStream(sock)
    try:
        return await upgrade.inbound(stream)
    finally:
        await stream.aclose()


class LyingKey(PrivateKey):
    """Says it is somebody else, and signs with what it has."""

    def __init__(self, claimed: PublicKey, signature: bytes | None = None) -> None:
        self._claimed = claimed
        self._signature = signature
        self._own = Ed25519PrivateKey.from_bytes(seed("liar"))

    def to_bytes(self) -> bytes:
        return self._own.to_bytes()

    def get_type(self) -> Any:
        return self._own.get_type()

    def sign(self, data: bytes) -> bytes:
        return self._own.sign(data) if self._signature is None else self._signature

    def get_public_key(self) -> PublicKey:
        return self._claimed


def liar(name: str, signature: bytes | None = None) -> Upgrade:
    """Return a handshake that claims to be somebody without having the key."""
    public = Ed25519PrivateKey.from_bytes(seed(name)).get_public_key()
    assert isinstance(public, Ed25519PublicKey)
    upgrade = Upgrade(seed("liar"), bool)
    keys = KeyPair(LyingKey(public, signature), public)
    upgrade._noise = _GatedNoise(keys, bool)
    return upgrade


class Witness:
    """A contact of the transport under attack, which must not notice the attack."""

    def __init__(self, victim: LibP2PTransport, friend: LibP2PTransport) -> None:
        self.victim = victim
        self._friend = friend
        self._peers: list[RawPeer] = []
        self._stream: Stream
        self._connection: Connection

    async def begin(self) -> None:
        """Talk before the attack."""
        self._connection = await self._friend.dial(self.victim.peer_id, self.victim.addresses)
        self._stream = await self._connection.open_stream(CHAT)
        await self._speak(self._stream)

    @staticmethod
    async def _speak(stream: Stream) -> None:
        async with asyncio.timeout(5):
            await stream.write(b"are you there?")
            assert await read_exactly(stream, 14) == b"are you there?"

    async def mallory(self, name: str = "mallory") -> RawPeer:
        """Connect a peer for the test to misuse. Raises PeerpostError if the handshake fails."""
        self._peers.append(await RawPeer.dial(self.victim, name))
        return self._peers[-1]

    def end(self) -> None:
        """Close what was misused."""
        for peer in self._peers:
            peer.close()

    async def is_well(self) -> None:
        """Go on with the old stream, and open everything anew."""
        await self._speak(self._stream)
        again = await self._friend.dial(self.victim.peer_id, self.victim.addresses, timeout_s=5)
        await self._speak(await again.open_stream(CHAT))
        await again.close()


@contextlib.asynccontextmanager
async def victim(*, reads: bool = True, **options: Any) -> AsyncIterator[Witness]:
    """Yield a transport that echoes to everybody, or only to the contact that uses it.

    Whoever is called "stranger" or so is one; "refused" is refused.
    """
    strangers = {Upgrade(seed(f"stranger {n}"), bool).peer_id for n in range(12)}
    refused = Upgrade(seed("refused"), bool).peer_id

    def gate(peer_id: str) -> Admission:
        if peer_id == refused:
            return Admission.REFUSED
        return Admission.STRANGER if peer_id in strangers else Admission.KNOWN

    attacked = LibP2PTransport(seed("victim"), [LOOPBACK], gate, PROTOCOLS, **options)
    friend = LibP2PTransport(
        seed("friend"), [LOOPBACK], lambda _: Admission.KNOWN, PROTOCOLS, **options
    )
    unread: list[Stream] = []
    async with running(attacked, friend), asyncio.TaskGroup() as group:

        async def serve(connection: Connection) -> None:
            while True:
                stream = await connection.accept_stream()
                if reads or connection.peer_id == friend.peer_id:
                    group.create_task(quietly(echo(stream)))
                else:
                    unread.append(stream)

        async def accept() -> None:
            while True:
                group.create_task(quietly(serve(await attacked.accept())))

        accepting = group.create_task(quietly(accept()))
        witness = Witness(attacked, friend)
        try:
            await witness.begin()
            yield witness
        finally:
            witness.end()
            await friend.stop()
            await attacked.stop()
            await accepting


class RawServer:
    """Listens on loopback and does with each connection what the test says."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.address = ""

    @contextlib.asynccontextmanager
    async def answering(self, *answers: bytes) -> AsyncIterator[RawServer]:
        """Send the answers once something has come, and keep what comes."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            waiting = list(answers)
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    self.heard += data
                    writer.writelines(waiting)
                    waiting.clear()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.address = f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()


async def raw_connection(
    transport: Reachable,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect by TCP, and say nothing yet."""
    host, port = target(transport)
    return await asyncio.open_connection(host, port, family=socket.AF_INET)


async def is_closed(reader: asyncio.StreamReader, timeout_s: float = 5.0) -> bytes:
    """Return what comes before the end, which must come in time."""
    data = b""
    async with asyncio.timeout(timeout_s):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                data += piece
    return data
