"""A sealed chunk put together from its segments.

Segments of a chunk come in order without gaps. One that is there already is ignored, one beyond a
gap is dropped, and one from the beginning with other bytes starts the chunk over. Nothing is trusted
before the whole chunk has been opened, so only the order matters here. Buffers are reused: a transfer
allocates as many as its window, whatever the peer sends.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

__all__ = ["Allocate", "Assembly", "BufferPool", "Fit", "plain_buffer"]

Allocate = Callable[[int], memoryview]
"""Returns a writable buffer of at least so many bytes; writing it to a disk may need it aligned."""


def plain_buffer(size_bytes: int) -> memoryview:
    """Return an ordinary buffer."""
    return memoryview(bytearray(size_bytes))


class Fit(enum.Enum):
    """How a segment fitted into its chunk."""

    TAKEN = enum.auto()
    """It continued the chunk."""
    WHOLE = enum.auto()
    """It completed the chunk."""
    IGNORED = enum.auto()
    """It was there already, or lies beyond a gap."""
    GAP_AT_END = enum.auto()
    """It is the chunk's last, and something before it is missing."""
    TOO_LONG = enum.auto()
    """It continues the chunk beyond its end."""


class BufferPool:
    """Buffers of one size, handed out and taken back."""

    __slots__ = ("_allocate", "_free", "_size_bytes")

    def __init__(self, size_bytes: int, allocate: Allocate = plain_buffer) -> None:
        self._size_bytes = size_bytes
        self._allocate = allocate
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """Return a buffer; what is in it is undefined."""
        return self._free.pop() if self._free else self._allocate(self._size_bytes)

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back that nothing uses any more."""
        self._free.append(buffer)

    def clear(self) -> None:
        """Free the buffers that are not in use."""
        self._free.clear()


class Assembly:
    """One chunk that is being received."""

    __slots__ = ("_buffer", "_pool", "reached", "received")

    def __init__(self, pool: BufferPool) -> None:
        self._pool = pool
        self._buffer: memoryview | None = None
        self.received = 0
        """How many bytes have arrived, from the start and without a gap."""
        self.reached = 0
        """The most that `received` ever was: what counts as progress."""

    def put(self, offset: int, data: bytes | memoryview, expected: int) -> Fit:
        """Place a segment of a sealed chunk of `expected` bytes."""
        end = offset + len(data)
        if 0 < offset < self.received < end:
            # A segment of another copy whose segments were cut elsewhere: the end of it continues this copy.
            data, offset = data[self.received - offset :], self.received
        if offset not in (0, self.received):
            # This ignores the rest of a copy that was too long, too: so one wrong copy counts once.
            return Fit.GAP_AT_END if offset > self.received and end == expected else Fit.IGNORED
        if end > expected:
            return Fit.TOO_LONG
        old = self._buffer
        if offset == 0 and old is not None and end <= self.received and old[:end] == data:
            return Fit.IGNORED
        if self._buffer is None:
            self._buffer = self._pool.take()
        self._buffer[offset:end] = data
        self.received = end
        self.reached = max(self.reached, end)
        return Fit.WHOLE if end == expected else Fit.TAKEN

    def view(self) -> memoryview:
        """Return what has been received."""
        return self.block()[: self.received]

    def block(self) -> memoryview:
        """Return the whole buffer, at whose start the chunk lies."""
        return memoryview(b"") if self._buffer is None else self._buffer

    def drop(self) -> None:
        """Give the buffer back; the chunk starts over."""
        if self._buffer is not None:
            self._pool.give(self._buffer)
            self._buffer = None
        self.received = self.reached = 0
