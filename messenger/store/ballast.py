"""Disk space kept in reserve, so that a full disk does not stop the queue from draining.

Marking a message as delivered is a write too. When the disk is full the ballast is given back: what
is queued drains and is marked, while nothing new is accepted until there is room to make the
ballast again.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Ballast"]


class Ballast:
    """A file of a given size that is only there to be deleted."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def released(self) -> bool:
        """Whether the reserve is in use: the disk is or was full."""
        return self._size_bytes > 0 and not self._path.exists()

    def restore(self) -> bool:
        """Make the file, if there is room for it. Return whether it is there."""
        if self._size_bytes == 0:
            return True
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if os.fstat(fd).st_size != self._size_bytes:
                _allocate(fd, self._size_bytes)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        finally:
            os.close(fd)
        return True

    def release(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)


def _allocate(fd: int, size_bytes: int) -> None:
    """Take the blocks really: a sparse file holds nothing in reserve."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size_bytes)
        return
    block = bytes(1 << 20)
    for offset in range(0, size_bytes, len(block)):
        os.pwrite(fd, block[: size_bytes - offset], offset)
