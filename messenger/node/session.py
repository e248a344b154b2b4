"""A session: one connection whose two ends have proved themselves, with a stream for each lane.

Reading: bytes -> frames -> envelopes opened, replays refused -> decoded -> handed over in batches, one batch per
read, so that what arrived together is committed together. Writing: one task per lane takes what is queued, seals
it in the order in which it leaves, and writes pieces small enough that an urgent message never waits behind a
long one. Any breach of PROTOCOL.md ends the session; nothing from the peer raises beyond `run`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from peerpost.crypto.envelope import ReceiveEpochs, SendEpoch
from peerpost.crypto.keys import X25519KeyPair
from peerpost.errors import PeerpostError, ProtocolError
from peerpost.net.interface import Connection, Stream
from peerpost.protocol.replay import ReplayGuard
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.frame import FrameReader, FrameType
from peerpost.wire.segment import Segment

__all__ = [
    "BULK_PROTOCOL",
    "HELLO_PROTOCOL",
    "URGENT_PROTOCOL",
    "Keys",
    "Received",
    "Receiver",
    "Session",
]

log = logging.getLogger(__name__)

HELLO_PROTOCOL = "/peerpost/hello/1"
URGENT_PROTOCOL = "/peerpost/urgent/1"
BULK_PROTOCOL = "/peerpost/bulk/1"
LANE_PROTOCOLS = {wire.Lane.URGENT: URGENT_PROTOCOL, wire.Lane.BULK: BULK_PROTOCOL}

READ_BYTES = 256 << 10
"""One read of a stream: a chunk at most, so that a batch stays small."""
WRITE_BYTES = 64 << 10
"""One write of a stream (DESIGN section 4: latency lives below the scheduler too)."""
ROOM_BYTES = 512 << 10
"""Bulk producers wait while more than this is queued on their lane."""
_NO_PSK = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One inner message as it came."""

    message: wire.Inner
    raw: bytes


class Receiver(Protocol):
    """What a session hands its messages to. Awaiting is backpressure towards the peer."""

    async def on_inner(self, session: Session, lane: wire.Lane, batch: list[Received]) -> None:
        """Take what one read of a lane brought."""

    async def on_segments(self, session: Session, segments: list[Segment]) -> None:
        """Take pieces of chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What HELLO agreed on."""

    my_id: bytes
    my_encryption: X25519KeyPair
    my_epk: X25519KeyPair
    my_epk_id: bytes
    peer_id_public: bytes
    peer_encryption_public: bytes
    peer_epk_id: bytes
    peer_epk_public: bytes


class _LaneWriter:
    """The outgoing side of one lane."""

    def __init__(self, stream: Stream, keys: Keys, buckets: tuple[int, ...] | None) -> None:
        self._stream = stream
        self._keys = keys
        self._buckets = buckets
        self._queue: deque[tuple[bool, bytes]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._epoch: SendEpoch | None = None
        self._closed = False

    def close(self) -> None:
        """Take nothing more, and let go whoever waits for room: there will be none."""
        self._closed = True
        self._queue.clear()
        self._queued_bytes = 0
        self._room.set()

    def put(self, payload: bytes, *, sealed: bool) -> None:
        if self._closed:
            return
        self._queue.append((sealed, payload))
        self._queued_bytes += len(payload)
        self._wake.set()
        if self._queued_bytes >= ROOM_BYTES:
            self._room.clear()

    async def room(self) -> None:
        await self._room.wait()

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            piece = self._next_piece()
            if not self._queue:
                self._wake.clear()
            if self._queued_bytes < ROOM_BYTES // 2:
                self._room.set()
            await self._stream.write(piece)

    def _next_piece(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while self._queue and size < WRITE_BYTES:
            sealed, payload = self._queue.popleft()
            self._queued_bytes -= len(payload)
            if not sealed:
                payload = self._seal(payload)
            parts.append(len(payload).to_bytes(4, "big"))
            parts.append(payload)
            size += 4 + len(payload)
        return b"".join(parts)

    def _seal(self, inner: bytes) -> bytes:
        now_s = time.monotonic()
        if self._epoch is None or self._epoch.exhausted(now_s):
            self._epoch = SendEpoch(
                sender=self._keys.my_encryption,
                recipient_id=self._keys.peer_id_public,
                prekey_id=self._keys.peer_epk_id,
                prekey_public=self._keys.peer_epk_public,
                psk=_NO_PSK,
                psk_generation=0,
                ephemeral_seed=secrets.token_bytes(32),
                now_s=now_s,
            )
        return self._epoch.seal(inner, self._buckets)


class Session:
    """Both lanes of one connection, from HELLO to its end."""

    def __init__(
        self,
        *,
        connection: Connection,
        streams: dict[wire.Lane, Stream],
        keys: Keys,
        buckets: tuple[int, ...] | None,
        receiver: Receiver,
    ) -> None:
        self.connection = connection
        self.keys = keys
        self.opened_s = time.monotonic()
        self._receiver = receiver
        self._streams = streams
        self._writers = {
            lane: _LaneWriter(stream, keys, buckets) for lane, stream in streams.items()
        }
        self._epochs = ReceiveEpochs(
            keys.my_id,
            lambda prekey_id: keys.my_epk.secret if prekey_id == keys.my_epk_id else None,
            lambda _sender, generation: _NO_PSK if generation == 0 else None,
        )
        self.cause: str | None = None
        """Why it ended, once it has."""

    def send(self, lane: wire.Lane, inner: bytes) -> None:
        """Queue one encoded inner message; it is sealed when it leaves."""
        self._writers[lane].put(inner, sealed=False)

    async def send_bulk(self, payload: bytes) -> None:
        """Queue one frame that is sealed already (a segment), once the bulk lane has room."""
        writer = self._writers[wire.Lane.BULK]
        await writer.room()
        writer.put(payload, sealed=True)

    def queued_bytes(self, lane: wire.Lane) -> int:
        """Tell how many bytes wait on a lane."""
        return self._writers[lane].queued_bytes

    def abort(self, cause: str) -> None:
        """End the session now."""
        if self.cause is None:
            self.cause = cause
        self.connection.abort()

    async def run(self) -> None:
        """Carry both lanes until the connection ends. Never raises but for cancellation."""
        try:
            async with asyncio.TaskGroup() as group:
                for lane, writer in self._writers.items():
                    group.create_task(writer.run(), name=f"write-{lane.name.lower()}")
                    group.create_task(self._read(lane), name=f"read-{lane.name.lower()}")
                group.create_task(self._watch(), name="watch")
        except* PeerpostError as errors:
            self.cause = self.cause or str(errors.exceptions[0])
        except* Exception as errors:
            self.cause = self.cause or "internal error"
            log.exception("session failed", exc_info=errors)
        finally:
            for writer in self._writers.values():
                writer.close()
            self.connection.abort()

    async def _watch(self) -> None:
        await self.connection.wait_closed()
        raise _ClosedError(self.cause or "the connection closed")

    async def _read(self, lane: wire.Lane) -> None:
        stream = self._streams[lane]
        frames = FrameReader(limits.MAX_FRAME_BYTES)
        replays = ReplayGuard()
        while True:
            data = await stream.read(READ_BYTES)
            if not data:
                raise _ClosedError("the peer closed the session")
            batch: list[Received] = []
            segments: list[Segment] = []
            for payload in frames.feed(data):
                if payload[0] == FrameType.SEGMENT:
                    segments.append(Segment.decode(payload))
                else:
                    received = self._open(bytes(payload), replays)
                    if received is not None:
                        batch.append(received)
            if batch:
                await self._receiver.on_inner(self, lane, batch)
            if segments:
                await self._receiver.on_segments(self, segments)

    def _open(self, payload: bytes, replays: ReplayGuard) -> Received | None:
        opened = self._epochs.open(payload)
        if opened.sender != self.keys.peer_encryption_public:
            raise ProtocolError("an envelope of another sender")
        replays.accept(opened.epoch, opened.n)
        try:
            return Received(message=wire.decode(opened.inner), raw=opened.inner)
        except wire.UnknownTypeError:
            # A later version's control message: this reader goes on without it.
            return None


class _ClosedError(PeerpostError):
    """The session is over; not a fault."""
