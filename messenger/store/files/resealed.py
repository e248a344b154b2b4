"""Outgoing bytes kept elsewhere: hashed and sealed under the transfer's own key while they are asked for.

The leaves are kept in a file beside the spool, since the root needs them all and memory must not.
A chunk that reads differently from the first time is noticed, and ends the transfer.
"""

from __future__ import annotations

import abc
import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerpost.errors import NoInputError, PeerpostError
from peerpost.fastpath import LANES
from peerpost.store import disk
from peerpost.system import open_private
from peerpost.wire.geometry import Geometry
from peerpost.wire.limits import LEAF_BYTES

from .chunks import Sealer
from .sealed import End, root_of

__all__ = ["Piece", "ResealedSource"]

_NOTED_BYTES: Final = 64 << 10
"""Leaves kept in memory until they are written: of half a gigabyte in usual chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Consecutive sealed chunks and their leaves."""

    first: int
    leaves: bytes
    sealed: list[memoryview]

    @classmethod
    def join(cls, pieces: Sequence[Piece]) -> Piece:
        """Return the chunks of pieces that follow one another."""
        return cls(
            first=pieces[0].first,
            leaves=b"".join(piece.leaves for piece in pieces),
            sealed=[chunk for piece in pieces for chunk in piece.sealed],
        )


class ResealedSource(abc.ABC):
    """Plaintext that `_read_plain` brings, as `Sending` reads it. Safe for several threads."""

    def __init__(self, size: int, sealer: Sealer, leaves_path: Path) -> None:
        """Open the leaves file. Raises StorageError."""
        self._size = size
        self._sealer = sealer
        self._geometry = Geometry(sealer.chunk_bytes.bit_length() - 1, size)
        self._count = self._geometry.count or 1
        self._hashed = bytearray(self._count)
        self._noted = bytearray()
        """Leaves of consecutive chunks that are not written to the leaf list yet."""
        self._noted_first = 0
        """The index of the first of these chunks."""
        self._lock = threading.Lock()
        self._leaves_lock = threading.Lock()
        """Held while the leaf list is read or written."""
        self._closed = False
        self._users = 0
        with disk.errors("cannot open a leaf list"):
            # Leaves that an earlier run left there are not trusted; they are written again.
            self._leaves_fd = open_private(leaves_path, os.O_RDWR | os.O_CREAT)

    @abc.abstractmethod
    def _read_plain(self, first: int, count: int) -> memoryview:
        """Return the plaintext of chunks. Raises PeerpostError if it is not what was queued."""

    def _read_cached(self, first: int, count: int) -> memoryview | None:  # noqa: ARG002
        """Do as `_read_plain` does, but from memory only, into a buffer that is used again; None if that cannot be."""
        return None

    @abc.abstractmethod
    def _changed(self) -> PeerpostError:
        """Return the error for a chunk that reads differently from the first time."""

    @abc.abstractmethod
    def _close_input(self) -> None:
        """Close what the plaintext comes from."""

    def read(self, first: int, count: int) -> Piece:
        """Read, hash and seal chunks: `load`, `seal` and `keep`. Raises SourceChangedError or StorageError."""
        piece = self.seal(first, self.load(first, count))
        self.keep(piece)
        return piece

    def read_cached(self, first: int, count: int) -> Piece | None:
        """Read, hash and seal chunks without waiting for the disk; return None if they are not in memory.

        Call it on one thread alone, and `note` or `keep` with the piece. Raises SourceChangedError.
        """
        with self._in_use():
            plain = self._read_cached(first, count)
            return None if plain is None else self.seal(first, plain)

    def load(self, first: int, count: int) -> memoryview:
        """Read chunks. Raises SourceChangedError or StorageError."""
        with self._in_use():
            return self._read_plain(first, count)

    def seal(self, first: int, plain: memoryview) -> Piece:
        """Hash and seal chunks that were read. This does no I/O."""
        count = max(1, -(-len(plain) // self._sealer.chunk_bytes))  # An empty file has one chunk.
        last = first + count == self._count
        leaves = self._sealer.leaves(first, plain, last=last)
        sealed = self._sealer.seal(first, plain, leaves, last=last)
        return Piece(first=first, leaves=leaves, sealed=sealed)

    def note(self, piece: Piece) -> bool:
        """Take the leaves of a piece, which may then be sent, without any wait; False if `keep` must."""
        if not self._leaves_lock.acquire(blocking=False):
            return False
        try:
            first, noted = piece.first, self._noted
            stop = first + len(piece.leaves) // LEAF_BYTES
            follows = not noted or first == self._noted_first + len(noted) // LEAF_BYTES
            if not follows or len(noted) >= _NOTED_BYTES or any(self._hashed[first:stop]):
                return False
            if not noted:
                self._noted_first = first
            noted += piece.leaves
            self._hashed[first:stop] = b"\1" * (stop - first)
            return True
        finally:
            self._leaves_lock.release()

    def keep(self, piece: Piece) -> None:
        """Write down the leaves of a piece, which may then be sent.

        Raises SourceChangedError if the chunks were others before, or StorageError.
        """
        with self._in_use():
            self._keep(piece.first, len(piece.leaves) // LEAF_BYTES, piece.leaves)

    def read_leaves(self, first: int, count: int) -> bytes:
        """Return leaves, hashing what was not read yet.

        Raises SourceChangedError or StorageError.
        """
        stop = min(first + count, self._count)
        with self._in_use(), disk.errors("cannot read a leaf list"):
            for at, length in self._unhashed(first, stop):
                self._hash(at, length)
            with self._leaves_lock:
                self._write_noted()
            return disk.read_at(self._leaves_fd, LEAF_BYTES * (stop - first), LEAF_BYTES * first)

    def find_end(self) -> End:
        """Return size, count and root, reading what was not read yet.

        Raises SourceChangedError or StorageError; NoInputError if `close` was called meanwhile.
        """
        with self._in_use():
            for first, count in self._unhashed(0, self._count):
                if self._closed:
                    raise NoInputError("the transfer was given up")
                self._hash(first, count)
            with self._leaves_lock, disk.errors("cannot write a leaf list"):
                self._write_noted()
                root = root_of(self._leaves_fd, self._count)
        return End(size=self._size, count=self._count, root=root)

    def close(self) -> None:
        """Close the files, once the threads that still read have noticed."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close_unused()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        # A descriptor closed under a reading thread could by then be another file's.
        with self._lock:
            if self._closed:
                raise NoInputError("the transfer was given up")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and not self._users:
            self._close_input()
            os.close(self._leaves_fd)

    def _hash(self, first: int, count: int) -> None:
        plain = self._read_plain(first, count)
        last = first + count == self._count
        self._keep(first, count, self._sealer.leaves(first, plain, last=last))

    def _keep(self, first: int, count: int, leaves: bytes) -> None:
        with self._leaves_lock, disk.errors("cannot write a leaf list"):
            self._write_noted()
            known = self._hashed[first : first + count]
            if any(known):
                before = disk.read_at(self._leaves_fd, LEAF_BYTES * count, LEAF_BYTES * first)
                for at in range(count):
                    span = slice(LEAF_BYTES * at, LEAF_BYTES * (at + 1))
                    if known[at] and before[span] != leaves[span]:
                        raise self._changed()
            disk.write_at(self._leaves_fd, [memoryview(leaves)], LEAF_BYTES * first)
            self._hashed[first : first + count] = b"\1" * count

    def _write_noted(self) -> None:
        if self._noted:
            disk.write_at(
                self._leaves_fd, [memoryview(bytes(self._noted))], LEAF_BYTES * self._noted_first
            )
            self._noted.clear()

    def _unhashed(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        at = self._hashed.find(0, first, stop)
        while at >= 0:
            end = self._hashed.find(1, at, min(stop, at + LANES))
            end = end if end >= 0 else min(stop, at + LANES)
            yield at, end - at
            at = self._hashed.find(0, end, stop)
