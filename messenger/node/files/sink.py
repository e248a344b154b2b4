"""Where the node writes for a command: a file, or a pipe whose reader may keep the writer waiting for ever."""

from __future__ import annotations

import os
import stat

from peerpost import system
from peerpost.errors import ReaderLeftError, UnavailableError
from peerpost.holes import SparseWriter
from peerpost.store import disk

__all__ = ["Sink"]

PIPE_BYTES = 4096
"""How much a pipe that is ready accepts without blocking (PIPE_BUF)."""


class Sink:
    """An open file, pipe, socket or device. One thread writes; the loop begins, stops and closes it."""

    def __init__(self, fd: int) -> None:
        """Write to a copy of a descriptor, because the one of a request is closed when its client leaves."""
        self._fd = os.dup(fd)
        try:
            self._woken, self._waker = os.pipe()
        except OSError:
            os.close(self._fd)
            raise
        self._stopped = False
        self._ready = system.Ready(reads=[self._woken], writes=[self._fd])
        status = os.fstat(self._fd)
        self.may_wait = not stat.S_ISREG(status.st_mode)
        """Whether a write may have to wait for a reader."""
        self._sparse = None if self.may_wait else _sparse(self._fd, status.st_size)

    def write(self, data: memoryview) -> None:
        """Write all of it, as fast as its reader takes it.

        Raises ReaderLeftError, StorageError, and UnavailableError once it is stopped.
        """
        with disk.errors("cannot write the file"):
            while data:
                if self.may_wait:
                    self._ready.wait()
                if self._stopped:
                    raise UnavailableError("the node is stopping", hint="try again")
                if self._sparse is not None:
                    self._sparse.write(data)
                    return
                try:
                    data = data[os.write(self._fd, data[:PIPE_BYTES] if self.may_wait else data) :]
                except BlockingIOError:
                    continue
                except (BrokenPipeError, ConnectionResetError):
                    raise ReaderLeftError("the reader of what is written has left") from None

    def end(self) -> None:
        """Truncate a file to what was written. Raises StorageError."""
        if self._sparse is not None:
            with disk.errors("cannot write the file"):
                self._sparse.end()

    def stop(self) -> None:
        """Make the writer give up, even while it waits."""
        self._stopped = True
        os.write(self._waker, b"x")

    def close(self) -> None:
        """Close the descriptors; the writer has ended, and `stop` is not called any more."""
        for fd in (self._fd, self._woken, self._waker):
            os.close(fd)


def _sparse(fd: int, size_bytes: int) -> SparseWriter | None:
    """Return a writer that leaves holes in a file; None for a file with content, or one opened for appending."""
    at_end = os.lseek(fd, 0, os.SEEK_CUR) == size_bytes
    return SparseWriter(fd) if at_end and not system.appends(fd) else None
