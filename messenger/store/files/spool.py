"""Outgoing files, sealed into the spool: once a message is queued, it has its own copy of what it needs.

The source may be a file, a pipe or a socket, of known or unknown length. A chunk is sealed when it is
known whether another byte follows, because its leaf depends on whether it is the last. So a stream can
be sent while it is being read.

The transfer that spooled a content sends the chunks as they are stored (`SpoolSource`); other transfers
of the same content seal them anew (`SharedSource`; `contents` finds the same bytes).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from peerpost import system
from peerpost.errors import BadInputError, NoInputError, StorageError, TransientError
from peerpost.fastpath import LANES
from peerpost.store import disk
from peerpost.wire.limits import LEAF_BYTES, MAX_FILE_BYTES

from .chunks import Sealer
from .resealed import Piece, ResealedSource
from .sealed import End, SealedFile

__all__ = ["Readable", "SharedSource", "SpoolSource", "digest_of", "spool"]

_HASH_BYTES: Final = 2 << 20
"""How much of a file is read and then hashed at a time: small enough to be still in the CPU cache."""


class Hasher(Protocol):
    """A hash that takes bytes piece by piece."""

    def update(self, data: memoryview, /) -> object:
        """Take more bytes."""

    def digest(self) -> bytes:
        """Return the hash of all bytes so far."""


class Readable(Protocol):
    """What can be read like a file, from its beginning to its end."""

    def readinto(self, room: memoryview, /) -> int:
        """Fill a buffer and return how much that was; 0 is the end."""


def spool(
    source: int | Readable,
    sealed: SealedFile,
    *,
    limit_bytes: int = MAX_FILE_BYTES,
    on_chunks: Callable[[int, int], None] | None = None,
    hasher: Hasher | None = None,
) -> End:
    """Seal everything from a file descriptor into a new sealed file, and flush it to the disk.

    `on_chunks(available, size_bytes)` is called in this thread as chunks are made, none of them the
    last; `hasher` gets all the bytes. Raises NoInputError if the source cannot be read,
    BadInputError if it is longer than `limit_bytes`, StoreFullError or StorageError if the spool
    cannot be written.
    """
    chunk_bytes = sealed.sealer.chunk_bytes
    # One chunk more than a batch, so that the byte after a full batch is at hand.
    buffer = memoryview(bytearray((LANES + 1) * chunk_bytes))
    filled = count = size = 0
    while True:
        got = _read_into(source, buffer[filled:])
        filled += got
        size += got
        if size > limit_bytes:
            raise BadInputError(f"the input is longer than {limit_bytes} bytes")
        full = (filled - 1) // chunk_bytes if got else 0
        if got and not full:
            continue
        taken = full * chunk_bytes if got else filled
        plain = buffer[:taken]
        if hasher is not None:
            hasher.update(plain)
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
    disk.sync_folder(sealed.path.parent)
    return End(size=size, count=count, root=sealed.root(count))


def digest_of(
    fd: int, size: int, hasher: Hasher, require_wanted: Callable[[], object]
) -> bytes | None:
    """Return the digest of what is left of a regular file, or None if that is not `size` bytes.

    The file's position stays where it is. `require_wanted` is called for each piece, and ends the work by raising.
    Raises NoInputError if it cannot be read.
    """
    at = start = os.lseek(fd, 0, os.SEEK_CUR)
    while True:
        require_wanted()
        try:
            data = disk.read_at(fd, _HASH_BYTES, at)
        except OSError as error:
            raise _unreadable(error) from error
        if not data:
            return hasher.digest() if at - start == size else None
        hasher.update(memoryview(data))
        at += len(data)


class SpoolSource:
    """A spooled file as `Sending` reads it: the chunks as they lie there."""

    def __init__(self, sealed: SealedFile, *, size: int | None) -> None:
        """Take ownership of an open sealed file. `size` is None while it still grows."""
        self._sealed = sealed
        self._size = size
        self._read_once = bytearray()

    def read(self, first: int, count: int) -> Piece:
        """Return sealed chunks. Raises StorageError.

        If a chunk is asked for again, ours may be damaged, so it is checked before it is sent once more.
        """
        stop = first + count
        self._read_once += bytes(max(0, stop - len(self._read_once)))
        if any(self._read_once[first:stop]):
            _read_checked(self._sealed, first, count, self._size)
        self._read_once[first:stop] = b"\1" * count
        return Piece(
            first=first,
            leaves=self.read_leaves(first, count),
            sealed=self._sealed.read_chunks(first, count, self._size),
        )

    def read_leaves(self, first: int, count: int) -> bytes:
        """Return leaves. Raises StorageError."""
        return self._sealed.read_leaves(first, count)[: LEAF_BYTES * count]

    def ended(self, end: End) -> None:
        """Note that the stream has ended."""
        self._size = end.size

    def close(self) -> None:
        """Close the files."""
        self._sealed.close()


class SharedSource(ResealedSource):
    """A content that another transfer has spooled: opened, checked, and sealed under the keys of this transfer."""

    def __init__(self, content: SealedFile, size: int, sealer: Sealer, leaves_path: Path) -> None:
        """Take ownership of an open sealed file. Raises StorageError."""
        self._content = content
        try:
            super().__init__(size, sealer, leaves_path)
        except BaseException:
            content.close()
            raise

    def _read_plain(self, first: int, count: int) -> memoryview:
        return _read_checked(self._content, first, count, self._size)

    def _changed(self) -> StorageError:
        return StorageError("our copy of it has changed; send it again")

    def _close_input(self) -> None:
        self._content.close()


def _read_checked(sealed: SealedFile, first: int, count: int, size: int | None) -> memoryview:
    try:
        return sealed.read_plain(first, count, size)
    except TransientError:
        raise
    except StorageError as error:
        raise StorageError(f"our copy of it: {error.message}; send it again") from error


def _read_into(source: int | Readable, room: memoryview) -> int:
    if not isinstance(source, int):
        return source.readinto(room)
    try:
        return system.readinto(source, room)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> NoInputError:
    return NoInputError(f"cannot read the input: {error.strerror or error}")
