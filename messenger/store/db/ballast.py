"""Disk space kept in reserve, so that a full disk does not stop the queue from draining.

Marking a message as delivered is a write too. When the disk is full, the ballast is given back, piece by
piece as writes need it, because whatever has filled the disk would take all free space at once. So what is
queued drains and is marked, and short texts are still taken, such as one that reports the full disk.
Nothing else that is new is accepted until there is room to make the ballast again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from pathlib import Path

import apsw

from peerpost import system
from peerpost.errors import StoreFullError
from peerpost.store import disk
from peerpost.system import DISK_FULL, open_private

__all__ = ["SHORT_BYTES", "Ballast", "WriteConnection", "require_room", "require_space"]

log = logging.getLogger(__name__)

MOST_OF_DISK = 8
"""The reserve takes at most this part of the disk (an eighth), and is made again once there is room for it twice."""
BLOCK_BYTES = 1 << 20
SHORT_BYTES = 8 << 10
"""Texts up to this size are accepted even when they need the reserve."""
PIECES = 256
PIECE_BYTES = 64 << 10
"""The reserve is given back in so many pieces, each of at least so many bytes: enough for a commit."""
LOOK_S = 0.5
"""How old the measured free space may be. In a second, texts take some megabytes."""


class WriteConnection(apsw.Connection):
    """The connection that writes, with the state of the disk."""

    reserve_in_use = False
    wanted_bytes = 0
    """How much must be free before the reserve can be made again."""
    low = False
    """Whether less is free than receiving must leave."""


def require_room(db: apsw.Connection) -> None:
    """Raise StoreFullError while the reserve is in use. Call it before accepting anything new but a short text."""
    if isinstance(db, WriteConnection) and db.reserve_in_use:
        raise StoreFullError(
            f"the disk is full: nothing new is accepted but texts of up to {SHORT_BYTES >> 10} KiB",
            hint=f"free {_mib(db.wanted_bytes)} of space on the disk of the home folder;"
            " what is queued is kept and sent",
        )


def require_space(db: apsw.Connection) -> None:
    """Raise StoreFullError while less is free than receiving must leave. Call it before taking what a peer sent."""
    require_room(db)
    if isinstance(db, WriteConnection) and db.low:
        raise StoreFullError(
            "less is free on the disk than storage.min_free",
            hint="free some space on the disk of the home folder; contacts keep what they send",
        )


class Ballast:
    """A file of a given size that is only there to be deleted."""

    def __init__(self, path: Path, size_bytes: int, min_free_bytes: int = 0) -> None:
        self._path = path
        with contextlib.suppress(OSError):
            size_bytes = min(size_bytes, shutil.disk_usage(path.parent).total // MOST_OF_DISK)
        self._size_bytes = size_bytes
        self._min_free_bytes = min_free_bytes
        self._released = False
        self._low = False
        self._looked_s = float("-inf")

    @property
    def released(self) -> bool:
        """Whether the reserve is in use: the disk is or was full."""
        return self._released

    @property
    def missing(self) -> bool:
        """Whether somebody else has deleted the file."""
        return self._size_bytes > 0 and not self._released and not self._path.exists()

    @property
    def wanted_bytes(self) -> int:
        """How much must be free before the reserve is made again."""
        return 2 * self._size_bytes

    def shortage(self) -> str | None:
        """Return what is refused because space is short, and until when; None if nothing is."""
        if self._released:
            return (
                f"the disk is full: nothing new is accepted but texts of up to {SHORT_BYTES >> 10} KiB"
                f" until {_mib(self.wanted_bytes)} are free"
            )
        if self.low():
            return (
                "what contacts send has to wait: less is free on the disk than storage.min_free"
                f" ({_mib(self._min_free_bytes)})"
            )
        return None

    def keep_free(self, min_free_bytes: int) -> None:
        """Leave another number of bytes free from now on."""
        self._min_free_bytes = min_free_bytes
        self._low, self._looked_s = False, float("-inf")

    def low(self) -> bool:
        """Return whether less is free than receiving must leave, measured at most half a second ago."""
        now_s = time.monotonic()
        if self._min_free_bytes and now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            with contextlib.suppress(OSError):
                self._low = shutil.disk_usage(self._path.parent).free < self._min_free_bytes
        return self._low

    def restore(self, *, spare_bytes: int = 0) -> bool:
        """Make the file, if there is room for it beside spare_bytes. Return whether it is there."""
        try:
            made = self._make(spare_bytes)
        except OSError as error:
            self._discard()
            made = False
            if error.errno not in DISK_FULL:
                # The disk is not full but refuses such a file: the store goes on without a reserve.
                log.warning("no space is kept in reserve: %s", error.strerror)
                self._size_bytes = 0
        self._released = not made and self._size_bytes > 0
        return made

    def regain(self) -> bool:
        """Make the file again once there is room for it twice. Return whether it is there.

        A reserve that takes the last bytes of the disk would have to be given back with the next write.
        """
        return self.restore(spare_bytes=self._size_bytes)

    def release(self) -> None:
        """Give all of the space back."""
        self._discard()
        self._released = self._size_bytes > 0

    @property
    def left_bytes(self) -> int:
        """What is in reserve now."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def give(self) -> bool:
        """Give a piece of the space back. Return whether there was one."""
        left_bytes = self.left_bytes
        keep_bytes = left_bytes - max(self._size_bytes // PIECES, PIECE_BYTES)
        try:
            if keep_bytes > 0:
                os.truncate(self._path, keep_bytes)
                self._released = True
                return True
        except OSError:
            log.warning("the space in reserve cannot be given back in pieces")
        self.release()
        # If it cannot be given back, do not try again and again.
        return self.left_bytes < left_bytes

    def _make(self, spare_bytes: int) -> bool:
        if self._size_bytes == 0:
            self._path.unlink(missing_ok=True)
            return True
        here_bytes = self._path.stat().st_size if self._path.exists() else 0
        missing_bytes = self._size_bytes - here_bytes
        if missing_bytes > 0:
            free_bytes = shutil.disk_usage(self._path.parent).free
            if free_bytes < missing_bytes + spare_bytes:
                return False
        fd = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            if missing_bytes < 0:
                os.ftruncate(fd, self._size_bytes)
            elif missing_bytes > 0:
                _allocate(fd, self._size_bytes)
        finally:
            os.close(fd)
        return True

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _mib(size_bytes: int) -> str:
    """Return a size, rounded up, in words."""
    return f"{-(-size_bytes // (1 << 20))} MiB"


def _allocate(fd: int, size_bytes: int) -> None:
    """Allocate the blocks: a sparse file would reserve nothing."""
    if system.allocate(fd, size_bytes):
        return
    # Random content, because a file system that compresses reserves no room for zeros.
    block = memoryview(os.urandom(BLOCK_BYTES))
    for offset in range(0, size_bytes, BLOCK_BYTES):
        disk.write_at(fd, [block[: size_bytes - offset]], offset)
