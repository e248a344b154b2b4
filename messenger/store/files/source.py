"""A pipe that is read for as long as it takes, and can be given up meanwhile."""

from __future__ import annotations

import os

from peerpost import system
from peerpost.errors import NoInputError

__all__ = ["Source"]


class Source:
    """An open pipe, socket or terminal. One thread reads; any may stop it."""

    def __init__(self, fd: int) -> None:
        """Take ownership of the descriptor."""
        self._fd = fd
        self._woken, self._waker = os.pipe()
        self._stopped = False
        self._ready = system.Ready(reads=[fd, self._woken])

    def readinto(self, room: memoryview, /) -> int:
        """Wait for data and take it; 0 is the end. Raises NoInputError, also once it is stopped."""
        while True:
            self._ready.wait()
            if self._stopped:
                raise NoInputError("the input was given up")
            try:
                return system.readinto(self._fd, room)
            except BlockingIOError:
                continue
            except OSError as error:
                raise NoInputError(f"cannot read the input: {error.strerror or error}") from error

    def stop(self) -> None:
        """Make the reader give up."""
        if not self._stopped:
            self._stopped = True
            os.write(self._waker, b"\0")

    def close(self) -> None:
        """Close everything. The reader has ended."""
        for fd in (self._fd, self._woken, self._waker):
            os.close(fd)
