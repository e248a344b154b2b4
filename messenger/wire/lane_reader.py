"""Reading a lane stream: envelopes when they are complete, segments as they arrive (PROTOCOL.md, "Frames").

A segment may be as long as a chunk. Collecting it first would cost memory and a copy, and would gain nothing, because
it cannot be checked before the chunk is complete. So the part that has arrived is handed on as a segment of its own.
"""

from __future__ import annotations

import struct
from typing import Final

from peerpost.errors import ProtocolError

from . import limits
from .frame import FrameType
from .segment import Segment, read_header

__all__ = ["LaneReader"]

_START: Final = struct.Struct(">IB")
"""Length and type of a frame."""
_SEGMENT: Final = int(FrameType.SEGMENT)


class LaneReader:
    """Cuts what was read into envelopes and segments; holds at most one incomplete envelope."""

    __slots__ = ("_buffer", "_file_id", "_index", "_left", "_offset")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._file_id = b""
        self._index = self._offset = 0
        self._left = 0
        """Bytes still missing of the current segment."""

    def feed(self, data: bytes | memoryview) -> list[memoryview | Segment]:
        """Take what was read; return payloads and pieces of segments, in order, as views of it.

        Raises ProtocolError on a frame that is out of bounds, before anything of it is kept. The
        stream is of no use after that.
        """
        view = memoryview(data)
        found: list[memoryview | Segment] = []
        while view:
            if self._left:
                taken = self._go_on(view, found)
            elif self._buffer:
                taken = self._gather(view, found)
            else:
                taken = self._begin(view, found)
            view = view[taken:]
        return found

    def _begin(self, view: memoryview, found: list[memoryview | Segment]) -> int:
        """Take a frame, or the part of it that is there; return how many bytes that was."""
        if len(view) >= _START.size:
            needed = _needed_bytes(view)
            if len(view) >= needed:
                self._take(view[:needed], found)
                return needed
        self._buffer += view
        _check_length(self._buffer)
        return len(view)

    def _gather(self, view: memoryview, found: list[memoryview | Segment]) -> int:
        """Continue a frame of which only the beginning had arrived."""
        buffer = self._buffer
        needed = _START.size if len(buffer) < _START.size else _needed_bytes(buffer)
        piece = view[: needed - len(buffer)]
        buffer += piece
        _check_length(buffer)
        if len(buffer) >= _START.size and len(buffer) == _needed_bytes(buffer):
            self._buffer = bytearray()
            self._take(memoryview(buffer), found)
        return len(piece)

    def _take(self, start: memoryview, found: list[memoryview | Segment]) -> None:
        """Hand on an envelope's payload, or begin a segment."""
        length, kind = _START.unpack_from(start)
        payload = start[limits.FRAME_HEADER_BYTES :]
        if kind != _SEGMENT:
            found.append(payload)
            return
        size = length - limits.SEGMENT_HEADER_BYTES
        self._file_id, self._index, self._offset = read_header(payload, size)
        self._left = size

    def _go_on(self, view: memoryview, found: list[memoryview | Segment]) -> int:
        """Hand on the part of a segment that has arrived."""
        piece = view[: self._left]
        found.append(Segment(self._file_id, self._index, self._offset, piece))
        self._offset += len(piece)
        self._left -= len(piece)
        return len(piece)


def _check_length(start: bytearray) -> None:
    """Refuse a length that no frame can have, even before its type has arrived."""
    head = limits.FRAME_HEADER_BYTES
    if len(start) >= head and not 0 < int.from_bytes(start[:head], "big") <= limits.MAX_FRAME_BYTES:
        raise ProtocolError("a frame of a length that is not allowed")


def _needed_bytes(start: memoryview | bytearray) -> int:
    """Return how much must be here before a frame is taken: all of an envelope, the header of a segment."""
    length, kind = _START.unpack_from(start)
    if kind == _SEGMENT:
        shortest, longest = limits.SEGMENT_HEADER_BYTES + 1, limits.MAX_FRAME_BYTES
    else:
        shortest, longest = 1, limits.MAX_ENVELOPE_BYTES
    if not shortest <= length <= longest:
        raise ProtocolError("a frame of a length that is not allowed")
    head = limits.SEGMENT_HEADER_BYTES if kind == _SEGMENT else int(length)
    return limits.FRAME_HEADER_BYTES + head
