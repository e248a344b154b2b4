"""Sparse files stay sparse: long runs of zeros are not written, but left out of the new file as holes.

An image of a disk may be a terabyte long and contain a gigabyte. A file system without holes fills in the zeros itself
when something is written after them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

__all__ = ["SparseWriter"]

_BLOCK_BYTES: Final = 4096
"""The unit in which zeros are looked for: no file system in use has smaller holes."""
_HOLE_BYTES: Final = 64 << 10
"""Shorter runs of zeros are written, because every hole splits the file on the disk in two."""
_ZEROS: Final = bytes(_HOLE_BYTES)


class SparseWriter:
    """Writes to an open file from its current position, which must be its end. Raises OSError."""

    def __init__(self, fd: int) -> None:
        """Write to a descriptor, which stays the caller's."""
        self._fd = fd
        self._zeros = 0
        """Zeros that were given and not written yet."""

    def write(self, data: memoryview) -> None:
        """Write all of it; zeros at its end may wait for what follows."""
        for is_zero, run in _runs(data):
            if is_zero:
                self._zeros += len(run)
            else:
                self._give_zeros()
                self._write(run)

    def end(self) -> None:
        """Make the file as long as everything that was written, zeros included."""
        is_hole = self._zeros >= _HOLE_BYTES
        self._give_zeros()
        # A hole exists only if something comes after it.
        if is_hole and os.fstat(self._fd).st_size < (size := os.lseek(self._fd, 0, os.SEEK_CUR)):
            os.ftruncate(self._fd, size)

    def _give_zeros(self) -> None:
        if self._zeros >= _HOLE_BYTES:
            os.lseek(self._fd, self._zeros, os.SEEK_CUR)
        else:
            self._write(memoryview(_ZEROS)[: self._zeros])
        self._zeros = 0

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._fd, data) :]


def _runs(data: memoryview) -> Iterator[tuple[bool, memoryview]]:
    """Yield the blocks that are zeros and those that are not in runs, each with whether it is zeros."""
    start, was_zero = 0, False
    for at in range(0, len(data), _BLOCK_BYTES):
        # For most blocks, one byte is enough to see that they are not zeros.
        is_zero = not data[at] and _ZEROS.startswith(data[at : at + _BLOCK_BYTES])
        if is_zero != was_zero:
            if at > start:
                yield was_zero, data[start:at]
            start, was_zero = at, is_zero
    if start < len(data):
        yield was_zero, data[start:]
