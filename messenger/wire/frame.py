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

    @property
    def pending_bytes(self) -> int:
        """Bytes held of a frame that is not whole yet; non-zero at a stream's end means it was
        cut.
        """
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and return the payloads that are whole, in order.

        Raises ProtocolError on a length of 0 or above the bound, before anything of that frame is
        kept. The stream is of no use after that.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            source = bytes(buffer) if self._is_whole(buffer) else None
            if source is None:
                return []
        else:
            source = bytes(data)
        payloads, used = self._cut(source)
        self._buffer = bytearray(memoryview(source)[used:])
        return payloads

    def _is_whole(self, buffer: bytearray) -> bool:
        # Looks before the copy, so that a frame that comes in many small pieces costs linear time.
        return len(buffer) >= _HEADER and len(buffer) >= _HEADER + self._length(buffer, 0)

    def _length(self, source: bytes | bytearray, at: int) -> int:
        length = int.from_bytes(source[at : at + _HEADER], "big")
        if not 0 < length <= self._max_bytes:
            raise ProtocolError("a frame of a length that is not allowed")
        return length

    def _cut(self, source: bytes) -> tuple[list[bytes], int]:
        payloads: list[bytes] = []
        used = 0
        while len(source) - used >= _HEADER:
            begin = used + _HEADER
            end = begin + self._length(source, used)
            if end > len(source):
                break
            payloads.append(source[begin:end])
            used = end
        return payloads, used
