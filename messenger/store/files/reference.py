"""Outgoing files that are not copied: they are read in their place, and sealed when they are asked for.

The reference records the file as it was when it was queued: size, inode, mtime, and ctime, which unlike
mtime nobody can set back. If the file no longer matches, it is not sent: `SourceChangedError`, and the
transfer ends with that cause. A chunk's key depends on its leaf, so even a change that keeps all of these
never puts two plaintexts under one key; and a chunk that reads differently the second time is noticed.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from peerpost.errors import NoInputError, PeerpostError, SourceChangedError, TransientError
from peerpost.raw_bytes import shown
from peerpost.store import disk

from .chunks import Sealer
from .resealed import ResealedSource

__all__ = ["Reference", "ReferenceSource", "describe", "name_of", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A file as it was when it was queued."""

    path: str
    """The path as `os.fsdecode` returns it. It may be no UTF-8, which JSON in ASCII preserves."""
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None = None
    """None if the file was queued by a version that did not record it."""


def describe(fd: int, path: str | bytes) -> Reference:
    """Return the reference of an open regular file. Raises NoInputError for anything else."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NoInputError("only a regular file can be sent by reference")
    return Reference(
        path=os.fsdecode(path),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        ctime_ns=status.st_ctime_ns,
    )


class ReferenceSource(ResealedSource):
    """A file read in place."""

    def __init__(self, reference: Reference, sealer: Sealer, leaves_path: Path) -> None:
        """Open the file.

        Raises SourceChangedError if it is gone or no longer the same, TransientError if it cannot be read for now.
        """
        self._reference = reference
        self._buffer = memoryview(b"")
        try:
            self._fd = disk.open_source(reference.path)
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            self._check_unchanged()
            super().__init__(reference.size, sealer, leaves_path)
        except BaseException:
            os.close(self._fd)
            raise

    def _read_plain(self, first: int, count: int) -> memoryview:
        size = self._geometry.plain_total(first, count)
        try:
            plain = memoryview(disk.read_at(self._fd, size, first * self._sealer.chunk_bytes))
        except OSError as error:
            raise self._unreadable(error) from error
        self._check_unchanged()
        if len(plain) != size:
            raise self._changed()
        return plain

    def _read_cached(self, first: int, count: int) -> memoryview | None:
        size = self._geometry.plain_total(first, count)
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size))
        plain = self._buffer[:size]
        if not disk.read_cached(self._fd, plain, first * self._sealer.chunk_bytes):
            return None
        self._check_unchanged()
        return plain

    def _close_input(self) -> None:
        os.close(self._fd)

    def _check_unchanged(self) -> None:
        try:
            status = os.fstat(self._fd)
        except OSError as error:
            raise self._unreadable(error) from error
        now = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
        known = self._reference
        # Deleting or replacing a file changes its ctime too. An open file can still be read as it was.
        unseen = known.ctime_ns is None or not status.st_nlink
        ctime_ns = status.st_ctime_ns if unseen else known.ctime_ns
        was = (known.size, known.mtime_ns, known.inode, ctime_ns)
        if now != was or not stat.S_ISREG(status.st_mode):
            raise self._changed()

    def _changed(self) -> SourceChangedError:
        return SourceChangedError(
            f"{name_of(self._reference.path)} changed after it was queued",
            hint="send it again; what is sent from stdin (- < FILE) is copied first",
        )

    def _unreadable(self, error: OSError) -> PeerpostError:
        return unreadable(name_of(self._reference.path), error)


def name_of(path: str) -> str:
    """Return the name of a file or folder as a contact may read it, without the folder that it lies in."""
    return shown(Path(path).name or path)


def unreadable(what: str, error: OSError) -> PeerpostError:
    """Return the error for a file of the user's that cannot be read, for good or for now.

    A contact reads it too, so `what` is a name, and no path.
    """
    why = error.strerror or str(error)
    if disk.is_gone(error):
        return SourceChangedError(f"{what} cannot be read any more: {why}")
    return TransientError(f"{what} cannot be read now: {why}")
