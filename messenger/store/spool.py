"""Outgoing files, sealed into the spool: what a message needs is its own once it is queued.

The source may be a file, a pipe or a socket, of known or unknown length. A chunk is sealed when the
byte after it is known to exist, or not to: whether it is the last goes into its leaf. So a stream
can be sent while it is being read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerpost.errors import BadInputError, NoInputError
from peerpost.wire.limits import LEAF_BYTES, MAX_FILE_BYTES

from .sealed import End, SealedFile

__all__ = ["Piece", "SpoolSource", "spool"]

_READ_CHUNKS: Final = 8
"""Chunks sealed per call: the lanes of the hash kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Consecutive sealed chunks and their leaves."""

    first: int
    leaves: bytes
    sealed: list[memoryview]


def spool(
    source_fd: int,
    sealed: SealedFile,
    *,
    limit_bytes: int = MAX_FILE_BYTES,
    on_chunks: Callable[[int, int], None] | None = None,
) -> End:
    """Seal all that a file descriptor gives, into a new sealed file, and flush it to the disk.

    `on_chunks(available, size_bytes)` is called in this thread as chunks come to be, none of them
    the last. Raises NoInputError if the source cannot be read, BadInputError if it is longer than
    `limit_bytes`, StoreFullError or StorageError if the spool cannot be written.
    """
    chunk_bytes = sealed.sealer.chunk_bytes
    # One chunk more than a batch, so that the byte after a full batch is at hand.
    buffer = memoryview(bytearray((_READ_CHUNKS + 1) * chunk_bytes))
    filled = count = size = 0
    while True:
        got = _read_into(source_fd, buffer[filled:])
        filled += got
        size += got
        if size > limit_bytes:
            raise BadInputError(f"the input is longer than {limit_bytes} bytes")
        full = (filled - 1) // chunk_bytes if got else 0
        if got and not full:
            continue
        taken = full * chunk_bytes if got else filled
        plain = buffer[:taken]
        leaves = sealed.sealer.leaves(count, plain, last=not got)
        pieces = sealed.sealer.seal(count, plain, leaves, last=not got)
        sealed.write_chunks(count, pieces, leaves)
        count += len(pieces)
        if not got:
            break
        if on_chunks is not None:
            on_chunks(count, size)
        rest = filled - taken
        buffer[:rest] = buffer[taken:filled]
        filled = rest
    sealed.sync()
    return End(size=size, count=count, root=sealed.root(count))


class SpoolSource:
    """A spooled file as `Sending` reads it: the chunks as they lie there."""

    def __init__(self, sealed: SealedFile, *, size: int | None) -> None:
        """Take ownership of an open sealed file. `size` is None while it still grows."""
        self._sealed = sealed
        self._size = size

    def read(self, first: int, count: int) -> Piece:
        """Return sealed chunks. Raises StorageError."""
        return Piece(
            first=first,
            leaves=self.read_leaves(first, count),
            sealed=self._sealed.read_chunks(first, count, self._size),
        )

    def read_leaves(self, first: int, count: int) -> bytes:
        """Return leaves. Raises StorageError."""
        return self._sealed.read_leaves(first, count)[: LEAF_BYTES * count]

    def ended(self, end: End) -> None:
        """Take that the stream has come to its end."""
        self._size = end.size

    def close(self) -> None:
        """Close the files."""
        self._sealed.close()


def _read_into(fd: int, room: memoryview) -> int:
    try:
        return os.readv(fd, [room])
    except OSError as error:
        raise NoInputError(f"cannot read the input: {error.strerror or error}") from error
