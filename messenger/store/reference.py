"""Outgoing files read where they lie: sealed while they are asked for, never copied.

The reference holds what the file was when it was queued: size, modification time and inode. A file
that is no longer that is not sent: `SourceChangedError`, and the transfer ends with that cause. A
chunk's key depends on its leaf, so even a change that keeps all three never has two plaintexts
under one key; a chunk that reads differently from the first time is noticed here too.

The leaves are kept in a file beside the spool, since the root needs them all and memory must not.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerpost.errors import NoInputError, SourceChangedError
from peerpost.wire.geometry import Geometry
from peerpost.wire.limits import LEAF_BYTES

from . import disk
from .chunks import Sealer
from .sealed import End, root_of
from .spool import Piece

__all__ = ["Reference", "ReferenceSource", "describe"]

_BATCH_CHUNKS: Final = 8
"""Chunks hashed per call: the lanes of the hash kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A file as it was when it was queued."""

    path: str
    size: int
    mtime_ns: int
    inode: int


def describe(fd: int, path: str) -> Reference:
    """Return the reference of an open regular file. Raises NoInputError for anything else."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NoInputError("only a regular file can be sent by reference")
    return Reference(
        path=path, size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino
    )


class ReferenceSource:
    """A file read in place, as `Sending` reads it. Safe for several threads."""

    def __init__(self, reference: Reference, sealer: Sealer, leaves_path: Path) -> None:
        """Open the file. Raises SourceChangedError if it is gone or no longer the same."""
        self._reference = reference
        self._sealer = sealer
        self._geometry = Geometry(sealer.chunk_bytes.bit_length() - 1, reference.size)
        self._count = self._geometry.count or 1
        self._hashed = bytearray(self._count)
        self._lock = threading.Lock()
        self._closed = False
        self._users = 0
        try:
            self._fd = disk.open_source(reference.path)
        except OSError as error:
            raise SourceChangedError(
                f"{reference.path} cannot be read any more: {error.strerror or error}"
            ) from error
        try:
            self._check_unchanged()
            with disk.errors("cannot open a leaf list"):
                # What an earlier run left there is not trusted, but written anew.
                self._leaves_fd = disk.open_private(leaves_path, os.O_RDWR | os.O_CREAT)
        except BaseException:
            os.close(self._fd)
            raise

    def read(self, first: int, count: int) -> Piece:
        """Read, hash and seal chunks. Raises SourceChangedError or StorageError."""
        with self._in_use():
            plain, leaves = self._hash(first, count)
        sealed = self._sealer.seal(first, plain, leaves, last=self._is_end(first, count))
        return Piece(first=first, leaves=leaves, sealed=sealed)

    def read_leaves(self, first: int, count: int) -> bytes:
        """Return leaves, hashing what was not read yet.

        Raises SourceChangedError or StorageError.
        """
        stop = min(first + count, self._count)
        with self._in_use(), disk.errors("cannot read a leaf list"):
            for at, length in self._unhashed(first, stop):
                self._hash(at, length)
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
            root = root_of(self._leaves_fd, self._count)
        return End(size=self._reference.size, count=self._count, root=root)

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
            os.close(self._fd)
            os.close(self._leaves_fd)

    def _is_end(self, first: int, count: int) -> bool:
        return first + count == self._count

    def _hash(self, first: int, count: int) -> tuple[memoryview, bytes]:
        size = self._geometry.plain_total(first, count)
        try:
            plain = memoryview(disk.read_at(self._fd, size, first * self._sealer.chunk_bytes))
        except OSError as error:
            raise SourceChangedError(
                f"{self._reference.path} cannot be read any more: {error.strerror or error}"
            ) from error
        self._check_unchanged()
        if len(plain) != size:
            raise self._changed()
        leaves = self._sealer.leaves(first, plain, last=self._is_end(first, count))
        self._keep(first, count, leaves)
        return plain, leaves

    def _keep(self, first: int, count: int, leaves: bytes) -> None:
        with self._lock, disk.errors("cannot write a leaf list"):
            known = self._hashed[first : first + count]
            if any(known):
                before = disk.read_at(self._leaves_fd, LEAF_BYTES * count, LEAF_BYTES * first)
                for at in range(count):
                    span = slice(LEAF_BYTES * at, LEAF_BYTES * (at + 1))
                    if known[at] and before[span] != leaves[span]:
                        raise self._changed()
            disk.write_at(self._leaves_fd, [memoryview(leaves)], LEAF_BYTES * first)
            self._hashed[first : first + count] = b"\1" * count

    def _unhashed(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        at = self._hashed.find(0, first, stop)
        while at >= 0:
            end = self._hashed.find(1, at, min(stop, at + _BATCH_CHUNKS))
            end = end if end >= 0 else min(stop, at + _BATCH_CHUNKS)
            yield at, end - at
            at = self._hashed.find(0, end, stop)

    def _check_unchanged(self) -> None:
        status = os.fstat(self._fd)
        now = (status.st_size, status.st_mtime_ns, status.st_ino)
        was = (self._reference.size, self._reference.mtime_ns, self._reference.inode)
        if now != was or not stat.S_ISREG(status.st_mode):
            raise self._changed()

    def _changed(self) -> SourceChangedError:
        return SourceChangedError(
            f"{self._reference.path} changed after it was queued",
            hint="send it again; what is sent from stdin (- < FILE) is copied first",
        )
