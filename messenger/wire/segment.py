"""Segments: pieces of a sealed chunk (PROTOCOL.md, "Frames").

They are protected by the file's own key, so they need no envelope.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from peerpost.errors import ProtocolError

from . import limits
from .frame import FrameType

__all__ = ["Segment", "read_header"]

_HEADER: Final = struct.Struct(">B16sQI")
_FRAMED: Final = struct.Struct(">IB16sQI")
"""The same, preceded by the length of its frame."""


@dataclass(slots=True)  # Not frozen: that would double the cost, and there are thousands a second.
class Segment:
    """Bytes `offset` to `offset + len(data)` of the sealed chunk `index` (ciphertext and tag)."""

    file_id: bytes
    """16 bytes, from the offer."""
    index: int
    """Of the chunk, from 0."""
    offset: int
    """In bytes, within the sealed chunk."""
    data: bytes | memoryview
    """One byte to a whole chunk."""

    def encode(self) -> bytes:
        """Return the frame payload. Raises ValueError on fields out of bounds."""
        if len(self.file_id) != 16 or not 0 < len(self.data) <= limits.MAX_SEGMENT_DATA_BYTES:
            raise ValueError(
                "a segment has a 16-byte file id and one byte to a whole chunk of data"
            )
        try:
            header = _HEADER.pack(FrameType.SEGMENT, self.file_id, self.index, self.offset)
        except struct.error:
            raise ValueError("a segment's index or offset is out of range") from None
        return b"".join((header, self.data))

    @staticmethod
    def frames(
        file_id: bytes, index: int, sealed: memoryview, data_bytes: int
    ) -> list[tuple[bytes, memoryview]]:
        """Return the frames that carry a sealed chunk, data_bytes of it in each.

        Each is a pair: what comes before the data (with the frame's length), and the data, which is not copied.
        """
        frames = []
        for at in range(0, len(sealed), data_bytes):
            data = sealed[at : at + data_bytes]
            size = _HEADER.size + len(data)
            head = _FRAMED.pack(size, FrameType.SEGMENT, file_id, index, at)
            frames.append((head, data))
        return frames

    @classmethod
    def decode(cls, payload: bytes | memoryview) -> Segment:
        """Parse a frame payload; `data` is a part of it. Raises ProtocolError."""
        file_id, index, offset = read_header(payload, len(payload) - _HEADER.size)
        return cls(file_id, index, offset, payload[_HEADER.size :])


def read_header(payload: bytes | memoryview, size_bytes: int) -> tuple[bytes, int, int]:
    """Return file id, index and offset of a segment with so much data. Raises ProtocolError."""
    if not 0 < size_bytes <= limits.MAX_SEGMENT_DATA_BYTES:
        raise ProtocolError("a segment of a size that is not allowed")
    kind, file_id, index, offset = _HEADER.unpack_from(payload)
    if kind != FrameType.SEGMENT:
        raise ProtocolError("not a segment")
    if index >= limits.MAX_CHUNKS or offset + size_bytes > limits.MAX_SEGMENT_DATA_BYTES:
        raise ProtocolError("a segment beyond the largest file or chunk")
    return file_id, index, offset
