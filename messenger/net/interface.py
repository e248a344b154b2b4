"""The transport as the node sees it: dial, accept, streams. The product has one, `net.tcp.transport`; tests also have
one in memory (tests/support/memory_net.py). Both must pass tests/messenger/net/test_conformance.py.

A transport authenticates a peer id and moves ordered bytes; it is not trusted with anything else
(PROTOCOL.md: the envelope stays secure if the transport is wholly hostile).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

from peerpost.errors import UnavailableError

__all__ = [
    "Admission",
    "Connection",
    "ConnectionLostError",
    "DialError",
    "Gate",
    "Priority",
    "Stream",
    "StreamResetError",
    "Transport",
]


T = TypeVar("T")


class DialError(UnavailableError):
    """No address of the peer led to the peer."""

    code = "unreachable"


class ConnectionLostError(UnavailableError):
    """The connection ended: closed by the peer, cut, or found dead."""

    code = "connection_lost"

    def again(self) -> Self:
        """Return the same error, to be raised once.

        An error that is kept somewhere must not be raised itself. It would refer to the frames it is raised through,
        and these to whoever keeps it: only the garbage collector would ever free them, with all their buffers.
        """
        same = type(self)(self.message, hint=self.hint)
        same.__cause__ = self.__cause__
        return same


class StreamResetError(ConnectionLostError):
    """The stream was reset; what was read before it is not the whole."""

    code = "stream_reset"


class Admission(enum.Enum):
    """What the gate says of a peer id, inside the Noise handshake."""

    KNOWN = "known"
    """A contact's transport key: full service."""
    STRANGER = "stranger"
    """Only the antechamber until `Connection.admit`: few connections at once, for a few seconds and bytes."""
    REFUSED = "refused"
    """Closed before any muxer or stream."""


Gate = Callable[[str], Admission]


class Priority(enum.IntEnum):
    """Which waiting write goes first on a connection."""

    URGENT = 0
    BULK = 1


class Stream(Protocol):
    """One bidirectional byte stream of a connection."""

    @property
    def protocol(self) -> str:
        """Name that both ends agreed on."""
        ...

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return 1..max_bytes bytes, or b"" after the peer's clean end.

        Cancel-safe: a cancelled read loses nothing. Raises StreamResetError after a reset,
        ConnectionLostError when the connection is gone.
        """
        ...

    async def receive(
        self, take: Callable[[list[memoryview]], T | None], max_bytes: int = 65536
    ) -> T | None:
        """Call `take` with what arrives, up to max_bytes at a time, until it returns a value; return that.

        If nothing has arrived yet, `take` is called later, in the turn of the loop in which data arrives, so it must
        be quick. Returns None after the peer's clean end. Raises what `take` raises, and what `read` does. Data that
        was taken is not given back when the call is cancelled.
        """
        ...

    @property
    def unread_bytes(self) -> int:
        """Bytes that have arrived and were not read, even if the stream has broken since."""
        ...

    @property
    def writable(self) -> bool:
        """Whether `write` would return, or raise, without waiting."""
        ...

    def put(self, *parts: bytes | memoryview) -> None:
        """Queue buffers at once, without waiting; the caller has seen that the stream is `writable`.

        The buffers must not change afterwards. They are sent in one piece if that is possible, so that the peer
        receives them in one piece.
        Raises as `write` does.
        """
        ...

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data and return when the stream has room again (backpressure).

        Cancel-safe: a cancelled write was queued whole or not at all, and hurts no other stream.
        Raises StreamResetError, ConnectionLostError.
        """
        ...

    async def close_write(self) -> None:
        """Flush and send the clean end; reading goes on."""
        ...

    async def close(self) -> None:
        """Flush, end cleanly, and release the stream. Never raises."""
        ...

    def reset(self) -> None:
        """Break the stream at once in both directions. Never raises."""
        ...


class Connection(Protocol):
    """One authenticated connection to one peer id."""

    @property
    def peer_id(self) -> str:
        """Peer id of the other end, authenticated."""
        ...

    @property
    def inbound(self) -> bool:
        """Whether the other end dialled."""
        ...

    @property
    def remote_address(self) -> str:
        """Multiaddr the connection runs over, without /p2p."""
        ...

    @property
    def transport(self) -> str:
        """The transport protocol at that address, such as `tcp`."""
        ...

    @property
    def admission(self) -> Admission:
        """What the gate said, unless `admit` has changed it."""
        ...

    @property
    def bulk_write_bytes(self) -> int:
        """How much to write at once on a bulk stream, so that urgent data waits for milliseconds at most."""
        ...

    @property
    def rtt_s(self) -> float | None:
        """The shortest round trip seen, or None before the first answer."""
        ...

    def admit(self) -> None:
        """Lift the antechamber's limits: HELLO has proved that this stranger is expected."""
        ...

    async def open_stream(self, protocol: str, *, timeout_s: float = 10.0) -> Stream:
        """Open a stream and agree on protocol. Raises ConnectionLostError, or StreamResetError
        if the peer does not speak the protocol or does not answer in time.
        """
        ...

    async def accept_stream(self) -> Stream:
        """Wait for the peer's next stream, already agreed on one of the transport's protocols.
        Raises ConnectionLostError.
        """
        ...

    async def wait_closed(self) -> None:
        """Return when the connection is gone, for whatever reason. Never raises."""
        ...

    async def close(self) -> None:
        """End the connection: what was written is flushed for at most 1 s. Never raises."""
        ...

    def abort(self) -> None:
        """Drop the connection now. Never raises, never blocks."""
        ...


class Transport(Protocol):
    """One peer id: listens, dials, and hands out connections.

    Constructed with the 32-byte Ed25519 seed of the transport key, the listen multiaddrs, the
    Gate, and `protocols`, a mapping of protocol name to Priority for both directions.
    """

    @property
    def peer_id(self) -> str:
        """Peer id of the transport key."""
        ...

    @property
    def addresses(self) -> Sequence[str]:
        """Multiaddrs really bound (ports filled in), after start."""
        ...

    async def start(self) -> None:
        """Bind and listen. Raises UnavailableError if an address cannot be bound."""
        ...

    async def stop(self) -> None:
        """Close every connection and release every resource; start may follow. Never raises."""
        ...

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10.0
    ) -> Connection:
        """Connect to peer_id over the first address that works, tried in parallel.
        Raises DialError with the cause of each address; cancel-safe.
        """
        ...

    async def accept(self) -> Connection:
        """Wait for the next inbound connection (its handshake done, its gate passed).
        Raises ConnectionLostError once the transport is stopped or its guest has failed;
        `__cause__` is the failure.
        """
        ...
