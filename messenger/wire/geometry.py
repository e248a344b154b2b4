"""Where the chunks of a file lie (PROTOCOL.md, "Files").

A file of `size` bytes has max(1, ceil(size / C)) chunks of C = 2 ** chunk_log2 bytes; the last may
be short, and of an empty file it is empty. Sealed, each is TAG_BYTES longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import limits

__all__ = ["Geometry"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The chunks of one file; `size` is None while its end is not known."""

    chunk_log2: int
    size: int | None

    @property
    def chunk_bytes(self) -> int:
        """Plaintext bytes of every chunk but the last."""
        return 1 << self.chunk_log2

    @property
    def sealed_bytes(self) -> int:
        """Sealed bytes of every chunk but the last."""
        return (1 << self.chunk_log2) + limits.TAG_BYTES

    @property
    def count(self) -> int | None:
        """Number of chunks, or None while it is not known."""
        if self.size is None:
            return None
        return max(1, (self.size + self.chunk_bytes - 1) >> self.chunk_log2)

    def is_last(self, index: int) -> bool:
        """Return whether a chunk is known to be the last."""
        count = self.count
        return count is not None and index == count - 1

    def plain_len(self, index: int) -> int:
        """Plaintext bytes of chunk `index`; a full chunk while the end is not known."""
        if self.size is None:
            return self.chunk_bytes
        return min(self.chunk_bytes, self.size - (index << self.chunk_log2))

    def sealed_len(self, index: int) -> int:
        """Sealed bytes of chunk `index`."""
        return self.plain_len(index) + limits.TAG_BYTES

    def plain_total(self, first: int, count: int) -> int:
        """Plaintext bytes of `count` chunks from `first`."""
        return ((count - 1) << self.chunk_log2) + self.plain_len(first + count - 1)
