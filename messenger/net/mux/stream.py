"""One stream of a connection, for asyncio (`interface.Stream`)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from peerpost.net.interface import ConnectionLostError, StreamResetError

__all__ = ["Carrier", "MuxedStream"]

T = TypeVar("T")

log = logging.getLogger(__name__)

QUEUE_BYTES = 512 * 1024
"""A writer waits once this much of its stream is queued, until half of it has been sent."""
LINGER_S = 10.0
"""A closed stream whose peer makes no progress for this long is reset."""


class Carrier(Protocol):
    """What a stream asks of the connection that moves its bytes."""

    def stream_write(self, stream: MuxedStream, parts: Sequence[bytes | memoryview]) -> None:
        """Queue buffers that belong together."""
        ...

    def stream_queued_bytes(self, stream: MuxedStream) -> int:
        """Return how much is queued and not sent yet."""
        ...

    def stream_waits(self, stream: MuxedStream) -> None:
        """Call the stream's `tell_writable` when less is queued."""
        ...

    def stream_consumed(self, stream: MuxedStream, frames: int, size: int) -> None:
        """Note that what was fed has been read."""
        ...

    def stream_end(self, stream: MuxedStream) -> None:
        """Send the clean end behind what is queued."""
        ...

    def stream_reset(self, stream: MuxedStream) -> None:
        """Break the stream and forget it."""
        ...

    def stream_over(self, stream: MuxedStream) -> None:
        """Forget the stream, which has ended both ways, once nothing is left to do for it; then call `tell_over`."""
        ...


class MuxedStream:
    """What is read and written; the carrier moves it."""

    def __init__(self, connection: Carrier, stream_id: int) -> None:
        self.id = stream_id
        self.protocol = ""
        self._connection = connection
        self._chunks: deque[memoryview] = deque()
        self._ended = False
        self._write_ended = False
        self._discarding = False
        self._over = False
        self._dropped_bytes = 0
        """Bytes that had arrived and were not read when the stream was reset."""
        self._error: ConnectionLostError | None = None
        self._reader: asyncio.Future[Any] | None = None
        self._give: Callable[[], object] | None = None
        """Set while somebody waits in `receive`: calls their `take` with what has arrived, and returns its result."""
        self._writers: deque[asyncio.Future[None]] = deque()
        self._linger: asyncio.TimerHandle | None = None
        self._lingering_bytes = 0

    # -- the connection's side

    def feed(self, data: memoryview) -> None:
        """Take received bytes. `deliver` is called after everything that arrived together was fed."""
        if self._discarding:
            self._connection.stream_consumed(self, 1, len(data))
            return
        self._chunks.append(data)

    def deliver(self) -> None:
        """Give what has arrived to whoever waits for it."""
        if self._give is None:
            self._wake_reader()
        elif self._reader is not None and not self._reader.done():
            self._hand_over(self._give, self._reader)

    def feed_end(self) -> None:
        """Take the peer's clean end."""
        self._ended = True
        self._wake_reader()
        self._finish_if_over()

    def fail(self, error: ConnectionLostError) -> None:
        """Break the stream. If the peer had ended it cleanly before, the rest can still be read, else nothing."""
        if self._error is None:
            self._error = error
        if isinstance(error, StreamResetError) and not self._ended:
            self._dropped_bytes += sum(map(len, self._chunks))
            self._chunks.clear()
        self.tell_over()
        self._wake_reader()
        self._wake_writers()

    def tell_over(self) -> None:
        """Hear that the connection has forgotten the stream."""
        self._over = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def tell_writable(self) -> bool:
        """Wake the writers if there is room again; return True once none waits."""
        if self._connection.stream_queued_bytes(self) < QUEUE_BYTES // 2:
            self._wake_writers()
        return not self._writers

    # -- reading

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return 1..max_bytes bytes, or b"" after the clean end (`interface.Stream`)."""
        while not self._chunks:
            if self._at_end():
                return b""
            await self._woken()
        pieces = self._take(max_bytes)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    async def receive(
        self, take: Callable[[list[memoryview]], T | None], max_bytes: int = 65536
    ) -> T | None:
        """Hand what comes to `take`, until that returns something (`interface.Stream`)."""

        def give() -> T | None:
            while self._chunks:
                if (found := take(self._take(max_bytes))) is not None:
                    return found
            return None

        self._give = give
        try:
            while (found := give()) is None and not self._at_end():
                if (found := await self._woken()) is not None:
                    break
        finally:
            self._give = None
        return found

    def _hand_over(self, give: Callable[[], object], reader: asyncio.Future[Any]) -> None:
        """Call the waiting `take` here and now, because the reader's own turn may be milliseconds away."""
        try:
            found = give()
        except Exception as error:  # noqa: BLE001 - it is the reader's
            if reader.done():  # The stream has broken meanwhile; the reader gets that error.
                log.debug("what came last was not taken: %r", error)
            else:
                reader.set_exception(error)
            # The error refers to this frame, and the reader to the error: only the garbage collector would free them.
            del reader
        else:
            if found is not None and not reader.done():
                reader.set_result(found)

    def _at_end(self) -> bool:
        """Return whether nothing more can arrive. Raises what broke the stream."""
        if self._discarding:
            raise StreamResetError("the stream was closed here")
        if self._error is not None and not self._ended:
            raise self._error.again()
        return self._ended

    async def _woken(self) -> Any:
        """Wait for more data or the end; return the result of `take`, if it had one."""
        self._reader = asyncio.get_running_loop().create_future()
        try:
            return await self._reader
        finally:
            self._reader = None

    def _take(self, max_bytes: int) -> list[memoryview]:
        chunks = self._chunks
        parts: list[memoryview] = []
        size = frames = 0
        while chunks and size < max_bytes:
            room = max_bytes - size
            chunk = chunks[0]
            if len(chunk) <= room:
                parts.append(chunks.popleft())
                frames += 1
            else:
                parts.append(chunk[:room])
                chunks[0] = chunk[room:]
            size += len(parts[-1])
        self._connection.stream_consumed(self, frames, size)
        return parts

    @property
    def unread_bytes(self) -> int:
        """Bytes that have arrived and were not read (`interface.Stream`)."""
        return self._dropped_bytes + sum(map(len, self._chunks))

    # -- writing

    @property
    def writable(self) -> bool:
        """Whether `write` would return at once, or raise (`interface.Stream`)."""
        return (
            self._error is not None
            or self._write_ended
            or (not self._writers and self._connection.stream_queued_bytes(self) < QUEUE_BYTES)
        )

    def put(self, *parts: bytes | memoryview) -> None:
        """Queue buffers at once (`interface.Stream`)."""
        self._check_open()
        self._connection.stream_write(self, parts)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data once there is room (`interface.Stream`)."""
        while True:
            self._check_open()
            if self._connection.stream_queued_bytes(self) < QUEUE_BYTES:
                break
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            self._connection.stream_waits(self)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._writers:
                    self._writers.remove(waiter)
                raise
        self._connection.stream_write(self, (data if isinstance(data, bytes) else bytes(data),))

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error.again()
        if self._write_ended:
            raise StreamResetError("the stream is closed for writing")

    # -- ending

    async def close_write(self) -> None:
        """Send the clean end behind what is queued (`interface.Stream`)."""
        if self._error is None and not self._write_ended:
            self._write_ended = True
            self._wake_writers()
            self._connection.stream_end(self)
            self._finish_if_over()

    async def close(self) -> None:
        """End cleanly and let go (`interface.Stream`)."""
        await self.close_write()
        if not self._discarding:
            self._discarding = True
            size, frames = sum(map(len, self._chunks)), len(self._chunks)
            self._chunks.clear()
            self._connection.stream_consumed(self, frames, size)
            if not self._over:
                self._wait_for_peer()
        self._wake_reader()

    def reset(self) -> None:
        """Break the stream at once (`interface.Stream`)."""
        if not self._over:
            self._connection.stream_reset(self)
            self._ended = False
            self.fail(StreamResetError("the stream was reset here"))

    # -- inside

    def _wait_for_peer(self) -> None:
        """Reset a closed stream whose peer neither reads the rest nor ends its direction."""
        self._lingering_bytes = self._connection.stream_queued_bytes(self)
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(LINGER_S, self._still_waiting)

    def _still_waiting(self) -> None:
        if self._connection.stream_queued_bytes(self) < self._lingering_bytes:
            self._wait_for_peer()
        else:
            self.reset()

    def _finish_if_over(self) -> None:
        if self._ended and self._write_ended:
            self._connection.stream_over(self)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writers(self) -> None:
        while self._writers:
            waiter = self._writers.popleft()
            if not waiter.done():
                waiter.set_result(None)
