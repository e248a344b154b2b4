"""Frames: a u32 big-endian length, then the payload (PROTOCOL.md, "Frames").

The first byte of a payload is its type.
"""

from __future__ import annotations

import enum
from typing import Final

from peerpost.errors import ProtocolError

from . import limits

__all__ = ["FrameReader", "FrameType", "frame"]

_HEADER: Final = limits.FRAME_HEADER_BYTES


class FrameType(enum.IntEnum):
    """First byte of a payload on a lane stream."""

    ENVELOPE = 1
    SEGMENT = 2


def frame(payload: bytes) -> bytes:
    """Return payload with its length before it.

    Raises ValueError if it is empty or longer than any frame.
    """
    if not 0 < len(payload) <= limits.MAX_FRAME_BYTES:
        raise ValueError("a frame payload has 1 to MAX_FRAME_BYTES bytes")
    return len(payload).to_bytes(_HEADER, "big") + payload


class FrameReader:
    """Cuts a byte stream into frame payloads; holds at most one incomplete frame."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[memoryview]:
        """Take what was read and return the payloads that are whole, in order, as views of it.

        Raises ProtocolError on a length of 0 or above the bound, before anything of that frame is
        kept. The stream is of no use after that.
        """
        view = memoryview(data)
        payloads: list[memoryview] = []
        at = self._complete(view, payloads) if self._buffer else 0
        while len(view) - at >= _HEADER:
            begin = at + _HEADER
            end = begin + self._length(view[at:begin])
            if end > len(view):
                break
            payloads.append(view[begin:end])
            at = end
        if at < len(view):
            self._buffer += view[at:]
        return payloads

    def _complete(self, view: memoryview, payloads: list[memoryview]) -> int:
        """Go on with the frame that was cut; return how much of the view it took."""
        buffer = self._buffer
        taken = max(0, _HEADER - len(buffer))
        buffer += view[:taken]
        if len(buffer) < _HEADER:
            return len(view)
        rest = _HEADER + self._length(buffer[:_HEADER]) - len(buffer)
        piece = view[taken : taken + rest]
        buffer += piece
        if len(piece) == rest:
            payloads.append(memoryview(buffer)[_HEADER:])
            self._buffer = bytearray()
        return taken + len(piece)

    def _length(self, header: bytearray | memoryview) -> int:
        length = int.from_bytes(header, "big")
        if not 0 < length <= self._max_bytes:
            raise ProtocolError("a frame of a length that is not allowed")
        return length
