"""What a command has the node write to: a file, or a pipe whose reader may keep the writer waiting for ever."""

from __future__ import annotations

import os
import select
import stat
import threading

from peerpost.errors import UnavailableError

__all__ = ["Sink", "may_wait"]

PIPE_BYTES = 4096
"""What a pipe that is ready takes without a wait (PIPE_BUF)."""


def may_wait(fd: int) -> bool:
    """Tell whether a write to it may have to wait for somebody."""
    return not stat.S_ISREG(os.fstat(fd).st_mode)


class Sink:
    """An open pipe, socket or device. One thread writes; any may stop it."""

    def __init__(self, fd: int) -> None:
        """Write to a descriptor that stays the caller's."""
        self._fd = fd
        self._woken, self._waker = os.pipe()
        self._stopped = self._closed = False
        # Who stops it must not write to the waker's number once that is another file's.
        self._turn = threading.Lock()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._poll.register(self._woken, select.POLLIN)

    def write(self, data: memoryview) -> None:
        """Write all of it as its reader takes it. Raises OSError, UnavailableError once it is stopped."""
        while data:
            self._poll.poll()
            if self._stopped:
                raise UnavailableError("the node is stopping", hint="try again")
            try:
                data = data[os.write(self._fd, data[:PIPE_BYTES]) :]
            except BlockingIOError:
                continue

    def stop(self) -> None:
        """Have the writer give up, also while it waits."""
        with self._turn:
            self._stopped = True
            if not self._closed:
                os.write(self._waker, b"x")

    def close(self) -> None:
        """Let go; it is stopped no more."""
        with self._turn:
            self._closed = True
            os.close(self._woken)
            os.close(self._waker)
