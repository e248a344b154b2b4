"""Frames gathered into plaintexts of Noise records: small ones share a record, large ones are cut without a copy."""

from __future__ import annotations

__all__ = ["MAX_RECORD_BYTES", "Plaintexts"]

MAX_RECORD_BYTES = 65535 - 16
"""The plaintext of one Noise record."""
UNCOPIED_BYTES = 16 * 1024
"""A piece of a large frame that is at least this long becomes a record of its own, without a copy."""


class Plaintexts:
    """What is to be sealed next, in order."""

    __slots__ = ("_parts", "_records", "_size")

    def __init__(self, control: bytearray) -> None:
        """Begin with control frames, which may be cut anywhere."""
        self._records: list[bytes | memoryview] = [
            bytes(control[at : at + MAX_RECORD_BYTES])
            for at in range(0, len(control), MAX_RECORD_BYTES)
        ]
        self._parts: list[bytes | memoryview] = [self._records.pop()] if self._records else []
        self._size = len(self._parts[0]) if self._parts else 0

    def add(self, frame: list[bytes | memoryview], size_bytes: int) -> None:
        """Append a frame, given as its buffers in order. If it does not fit into the record, it begins a new one."""
        if self._size and self._size + size_bytes > MAX_RECORD_BYTES >= size_bytes:
            self._cut()
        if self._size + size_bytes <= MAX_RECORD_BYTES:
            self._parts += frame
            self._size += size_bytes
            return
        for part in frame:
            self._add_part(part)

    def records(self) -> list[bytes | memoryview]:
        """Return all, none larger than `MAX_RECORD_BYTES`."""
        self._cut()
        return self._records

    def _add_part(self, part: bytes | memoryview) -> None:
        if len(part) < UNCOPIED_BYTES and self._size + len(part) <= MAX_RECORD_BYTES:
            self._parts.append(part)
            self._size += len(part)
            return
        self._cut()
        view = memoryview(part)
        while len(view) >= UNCOPIED_BYTES:
            self._records.append(view[:MAX_RECORD_BYTES])
            view = view[MAX_RECORD_BYTES:]
        if view:
            self._parts, self._size = [view], len(view)

    def _cut(self) -> None:
        """Make a record of what is gathered."""
        if self._parts:
            self._records.append(b"".join(self._parts))
            self._parts, self._size = [], 0
