"""The outgoing side of one lane: it queues frames, asks for a turn for each, and seals them in the order of sending."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from peerpost.crypto.envelope import NO_PSK, SendEpoch, envelope_bytes
from peerpost.net.interface import ConnectionLostError, Stream
from peerpost.protocol.limit import Limit
from peerpost.wire import limits
from peerpost.wire.inner import Lane

from .keys import Keys
from .turns import Dispatcher

__all__ = ["Frame", "LaneWriter"]

Frame: TypeAlias = tuple[bytes | memoryview, ...]
"""A frame with its length, as consecutive buffers that do not change any more."""

ROOM_BYTES = 1 << 20
"""Bulk producers wait while more than this is queued on their lane."""
ANSWERS_BYTES = 1 << 20
"""If more control messages than this are queued on a lane, nothing is read that could ask for more answers."""


class _Queued(NamedTuple):
    size_bytes: int
    """The size of the frame."""
    inner: bytes
    """An inner message, which is sealed when it is sent; empty if `frame` is given."""
    frame: Frame
    """A frame that is sealed already; empty if `inner` is given."""
    messages: int
    on_left: Callable[[], object] | None = None

    @property
    def control_bytes(self) -> int:
        """Its size if it is a control message (neither numbered nor a piece of a file), else 0."""
        return 0 if self.messages or self.frame else self.size_bytes


class LaneWriter:
    """Takes frames, asks for turns, writes them to the lane's stream."""

    def __init__(
        self,
        lane: Lane,
        stream: Stream,
        keys: Keys,
        buckets: tuple[int, ...] | None,
        dispatcher: Dispatcher,
        limit: Limit | None,
    ) -> None:
        self._stream = stream
        self._keys = keys
        self._buckets = buckets
        self._dispatcher = dispatcher
        self._flow = dispatcher.add(lane, limit)
        self._queue: deque[_Queued] = deque()
        self._queued_bytes = 0
        self.left_bytes = 0
        """Bytes that the stream has accepted, which is no more than the link and the peer accept."""
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._answers_bytes = 0
        self._answered = asyncio.Event()
        self._answered.set()
        self._epoch: SendEpoch | None = None
        self._idle = False
        self._closed = False

    def close(self) -> None:
        """Take nothing more, and wake everybody who waits for room."""
        self._closed = True
        self._queue.clear()
        self._queued_bytes = 0
        self._dispatcher.release(self._flow)
        self._room.set()
        self._answered.set()

    def put(self, inner: bytes, *, messages: int = 0) -> None:
        """Queue an inner message; it is sealed when it is sent.

        `messages` is what it counts under a limit of messages.
        """
        size = limits.FRAME_HEADER_BYTES + envelope_bytes(len(inner), self._buckets)
        self._put(_Queued(size, inner, (), messages))

    def put_frame(self, frame: Frame, on_left: Callable[[], object] | None = None) -> None:
        """Queue a frame that is sealed already; `on_left` is called when it is sent, unless the session ends first."""
        self._put(_Queued(sum(map(len, frame)), b"", frame, 0, on_left))

    def _put(self, queued: _Queued) -> None:
        if self._closed:
            return
        self._queue.append(queued)
        self._queued_bytes += queued.size_bytes
        self._answers_bytes += queued.control_bytes
        if self._idle and len(self._queue) == 1 and self._leaves_at_once(queued):
            return
        self._wake.set()
        if self._queued_bytes >= ROOM_BYTES:
            self._room.clear()
        if self._answers_bytes >= ANSWERS_BYTES:
            self._answered.clear()

    def _leaves_at_once(self, queued: _Queued) -> bool:
        """Write the only queued frame at once, if nobody else asks for the turn. This saves a turn of the loop."""
        if self._epoch is None or not (self._dispatcher.free and self._stream.writable):
            return False
        if not self._dispatcher.take(self._flow, queued.size_bytes, queued.messages):
            return False
        with contextlib.suppress(ConnectionLostError):  # The session gets this error too.
            self._stream.put(*self._next_frame())
        self._dispatcher.release(self._flow)
        return True

    async def room(self) -> None:
        """Wait until less than `ROOM_BYTES` is queued."""
        await self._room.wait()

    @property
    def owes_answers(self) -> bool:
        """Whether so many control messages are queued that the peer must not ask for more."""
        return not self._answered.is_set()

    async def answered(self) -> None:
        """Wait until at most half of `ANSWERS_BYTES` is queued, after it was more."""
        await self._answered.wait()

    @property
    def queued_bytes(self) -> int:
        """Bytes that are queued and not sent yet."""
        return self._queued_bytes

    async def run(self) -> None:
        """Write until cancelled. Raises ConnectionLostError."""
        try:
            while True:
                if not self._queue:
                    self._dispatcher.release(self._flow)
                    self._wake.clear()
                    self._idle = True
                    await self._wake.wait()
                    self._idle = False
                if not self._stream.writable:
                    # While this lane waits for a slow peer, others may have the turn.
                    self._dispatcher.release(self._flow)
                    await self._stream.write(b"")
                head = self._queue[0]
                if not self._dispatcher.take(self._flow, head.size_bytes, head.messages):
                    await self._dispatcher.granted(self._flow)
                self._stream.put(*self._next_frame())
        finally:
            self._dispatcher.release(self._flow)

    def _next_frame(self) -> Frame:
        head = self._queue.popleft()
        self._queued_bytes -= head.size_bytes
        self.left_bytes += head.size_bytes
        self._answers_bytes -= head.control_bytes
        if self._answers_bytes < ANSWERS_BYTES // 2:
            self._answered.set()
        if self._queued_bytes < ROOM_BYTES // 2:
            self._room.set()
        if head.on_left is not None:
            head.on_left()
        if head.frame:
            return head.frame
        payload = self._seal(head.inner)
        return len(payload).to_bytes(limits.FRAME_HEADER_BYTES, "big"), payload

    def _seal(self, inner: bytes) -> bytes:
        now_s = self._dispatcher.clock.monotonic_s()
        if self._epoch is None or self._epoch.exhausted(now_s):
            self._epoch = SendEpoch(
                sender=self._keys.my_encryption,
                recipient_id=self._keys.peer_id_public,
                prekey_id=self._keys.peer_epk_id,
                prekey_public=self._keys.peer_epk_public,
                psk=NO_PSK,
                psk_generation=0,
                ephemeral_seed=secrets.token_bytes(32),
                now_s=now_s,
            )
        return self._epoch.seal(inner, self._buckets)
