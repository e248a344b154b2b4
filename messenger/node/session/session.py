"""A session: one connection whose two ends have proved themselves, with a stream for each lane.

Reading: bytes -> frames -> envelopes opened, replays refused -> decoded -> handed over in batches, one batch per
read, so that what arrived together is committed together. Reading slowly is what holds the limit on receiving. Each
lane writes by itself (`lane`). Any breach of PROTOCOL.md ends the session; no error caused by the peer leaves `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from peerpost.crypto.envelope import NO_PSK, ReceiveEpochs
from peerpost.errors import PeerpostError, ProtocolError, RemoteError
from peerpost.net.interface import Connection, Stream
from peerpost.protocol.replay import ReplayGuard
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.lane_reader import LaneReader
from peerpost.wire.segment import Segment

from .keys import Keys
from .lane import Frame, LaneWriter
from .rates import Traffic
from .together import until_one_ends

__all__ = [
    "BULK_PROTOCOL",
    "HELLO_PROTOCOL",
    "URGENT_PROTOCOL",
    "Later",
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
"""How much is read of a stream at once: about a chunk, so that a batch stays small."""
LIMITED_READ_BYTES = 64 << 10
"""The same under a limit on receiving: this much is read before its tokens are taken."""
MOST_SEGMENT_BYTES = limits.MAX_SEGMENT_DATA_BYTES
LIMITED_SEGMENT_BYTES = 32 << 10
"""The segment size under a limit on sending, so that segments are sent evenly as the bucket fills."""
UNREAD_ANSWERS_S = 60.0
"""How long a peer may leave a megabyte of answers unread while it asks for more."""
PARTING_S = 0.5
"""How long a session that the peer broke stays to say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One inner message as it came."""

    message: wire.Inner
    raw: bytes


Later: TypeAlias = Callable[[], Awaitable[None]]
"""What must be awaited before more is read of a lane: backpressure on the peer."""


class Receiver(Protocol):
    """Takes the messages of a session, in the turn of the loop in which they arrived."""

    def on_inner(self, session: Session, lane: wire.Lane, batch: list[Received]) -> Later | None:
        """Take the messages of one read of a lane."""

    def on_segments(self, session: Session, segments: list[Segment]) -> None:
        """Take pieces of chunks."""


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
        traffic: Traffic,
    ) -> None:
        self.connection = connection
        self.keys = keys
        self.clock = traffic.clock
        self.opened_s = self.clock.monotonic_s()
        self._receiver = receiver
        self._traffic = traffic
        self._streams = streams
        self._writers = {
            lane: LaneWriter(lane, stream, keys, buckets, traffic.dispatcher, traffic.up)
            for lane, stream in streams.items()
        }
        self._epochs = ReceiveEpochs(
            keys.my_id,
            lambda prekey_id: keys.my_epk.secret if prekey_id == keys.my_epk_id else None,
            lambda _sender, generation: NO_PSK if generation == 0 else None,
        )
        self.cause: str | None = None
        """Why it ended, once it has."""
        self._parting = False

    def send(self, lane: wire.Lane, inner: bytes, *, messages: int = 0) -> None:
        """Queue one encoded inner message; it is sealed when it is sent.

        `messages` is what it counts under a limit of messages: control counts nothing.
        """
        self._writers[lane].put(inner, messages=messages)

    async def send_chunk(
        self, frames: Sequence[Frame], on_left: Callable[[], object] | None = None
    ) -> None:
        """Queue the frames of a chunk, which is sealed already, once the bulk lane has room.

        `on_left` is called when the last of them was sent; under a limit that may be much later.
        """
        writer = self._writers[wire.Lane.BULK]
        await writer.room()
        for frame in frames[:-1]:
            writer.put_frame(frame)
        for frame in frames[-1:]:
            writer.put_frame(frame, on_left)
        if not frames and on_left is not None:
            on_left()

    @property
    def segment_bytes(self) -> int:
        """How much of a chunk to send in one frame."""
        limited = self._traffic.up.limited
        return min(
            self.connection.bulk_write_bytes,
            LIMITED_SEGMENT_BYTES if limited else MOST_SEGMENT_BYTES,
        )

    def queued_bytes(self, lane: wire.Lane) -> int:
        """Return how many bytes wait on a lane."""
        return self._writers[lane].queued_bytes

    def left_bytes(self, lane: wire.Lane) -> int:
        """Return how many bytes were sent on a lane."""
        return self._writers[lane].left_bytes

    def abort(self, cause: str) -> None:
        """End the session now."""
        if self.cause is None:
            self.cause = cause
        self.connection.abort()

    async def run(self) -> None:
        """Carry both lanes until the connection ends. Raises nothing except for cancellation."""
        try:
            error = await until_one_ends(self._parts())
            if isinstance(error, PeerpostError):
                self.cause = self.cause or str(error)
            elif error is not None:
                self.cause = self.cause or "internal error"
                log.error("session failed", exc_info=error)
        finally:
            for writer in self._writers.values():
                writer.close()
            self.connection.abort()
            self._traffic.end(sum(stream.unread_bytes for stream in self._streams.values()))

    def _parts(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        for lane, writer in self._writers.items():
            yield f"write-{lane.name.lower()}", writer.run()
            yield f"read-{lane.name.lower()}", self._read(lane)
        yield "watch", self._watch()
        yield "refuse-streams", self._refuse_streams()

    def let_go(self) -> None:
        """Forget the receiver when no more messages come: it refers to the session, and would keep it in memory."""
        del self._receiver

    async def _refuse_streams(self) -> None:
        """Reset streams that the peer opens besides the lanes: nobody reads them, and the session goes on."""
        while True:
            stream = await self.connection.accept_stream()
            log.debug("refusing another %s of %s", stream.protocol, self.connection.peer_id)
            stream.reset()

    async def _watch(self) -> None:
        await self.connection.wait_closed()
        raise _ClosedError(self.cause or "the connection closed")

    async def _read(self, lane: wire.Lane) -> None:
        try:
            await self._read_on(lane)
        except RemoteError as error:
            await self.part(error.message)
            raise

    async def part(self, cause: str) -> None:
        """Tell the peer once what it did wrong, if it reads that soon."""
        if self._parting:
            await self.connection.wait_closed()
            return
        self._parting = True
        self.cause = self.cause or cause
        goodbye = wire.Goodbye(reason=cause[: limits.MAX_REASON_CHARS])
        self.send(wire.Lane.URGENT, wire.encode(goodbye))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                # The peer closes the connection when it has read this. If we closed it, the close could overtake the
                # message.
                await self.connection.wait_closed()

    async def _read_on(self, lane: wire.Lane) -> None:
        stream = self._streams[lane]
        take = functools.partial(self._take, lane, LaneReader(), ReplayGuard())
        while True:
            limited = self._traffic.down.limited
            later = await stream.receive(take, LIMITED_READ_BYTES if limited else READ_BYTES)
            if later is None:
                raise _ClosedError("the peer closed the session")
            await later()
            if any(writer.owes_answers for writer in self._writers.values()):
                await self._answer()

    async def _answer(self) -> None:
        """Wait until a peer that asks faster than it reads has read its answers, before reading more requests."""
        try:
            async with asyncio.timeout(UNREAD_ANSWERS_S):
                for writer in self._writers.values():
                    await writer.answered()
        except TimeoutError:
            raise ProtocolError("the peer asks and does not read") from None

    def _take(
        self, lane: wire.Lane, frames: LaneReader, replays: ReplayGuard, pieces: list[memoryview]
    ) -> Later | None:
        """Hand on the messages of one read; return what must be awaited before the next read."""
        if self._parting:
            return self.connection.wait_closed
        batch: list[Received] = []
        segments: list[Segment] = []
        for piece in pieces:
            for found in frames.feed(piece):
                if isinstance(found, Segment):
                    segments.append(found)
                elif received := self._open(bytes(found), replays):
                    batch.append(received)
        if segments and lane is not wire.Lane.BULK:
            raise ProtocolError("a segment on the urgent lane")
        size, messages = (
            sum(map(len, pieces)),
            sum(isinstance(r.message, wire.Message) for r in batch),
        )
        self._traffic.came(lane, size, messages)
        later = self._receiver.on_inner(self, lane, batch) if batch else None
        rest = functools.partial(self._take_rest, lane, segments, size, messages)
        return rest() if later is None else functools.partial(_in_turn, later, rest)

    def _take_rest(
        self, lane: wire.Lane, segments: list[Segment], size_bytes: int, messages: int
    ) -> Later | None:
        """Hand on the segments that came after the messages; under a limit on receiving, everything takes tokens."""
        if segments:
            self._receiver.on_segments(self, segments)
        if self._traffic.down.limited:
            return functools.partial(self._traffic.pace, lane, size_bytes, messages)
        self._traffic.count(lane, size_bytes, messages)
        return None

    def _open(self, payload: bytes, replays: ReplayGuard) -> Received | None:
        opened = self._epochs.open(payload)
        if opened.sender != self.keys.peer_encryption_public:
            raise ProtocolError("an envelope of another sender")
        replays.accept(opened.epoch, opened.n)
        try:
            message = wire.decode(opened.inner)
        except wire.UnknownTypeError:
            # A control message of a later version: ignore it.
            return None
        if isinstance(message, wire.Goodbye):
            raise _ClosedError(f"the contact ended the session: {message.reason}")
        return Received(message=message, raw=opened.inner)


async def _in_turn(later: Later, rest: Callable[[], Later | None]) -> None:
    await later()
    if (then := rest()) is not None:
        await then()


class _ClosedError(PeerpostError):
    """The session is over; not a fault."""
