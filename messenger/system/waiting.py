"""Waiting until descriptors can be read or written. On Windows this is possible for sockets only."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable

__all__ = ["HAS_UVLOOP", "PLATFORM", "Ready", "reader_has_left"]

PLATFORM = sys.platform
"""The name of this system, to be shown. Only this package may make decisions by it."""
HAS_UVLOOP = sys.platform != "win32"
"""Whether there is a uvloop for this system."""


class Ready:
    """Descriptors that are waited for together: pipes, terminals, sockets, processes. Any number is possible."""

    def __init__(
        self,
        *,
        reads: Iterable[int] = (),
        writes: Iterable[int] = (),
        ends: Iterable[int] = (),
    ) -> None:
        """Take what is to be read or written, and pipes and sockets whose reader may leave."""
        if sys.platform == "win32":
            return
        self._poll = select.poll()
        for fd in reads:
            self._poll.register(fd, select.POLLIN)
        for fd in writes:
            self._poll.register(fd, select.POLLOUT)
        for fd in ends:
            self._poll.register(fd, 0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until one is ready, closed or broken; return False if none is in time.

        On Windows this returns True at once: there a descriptor blocks by itself.
        """
        if sys.platform == "win32":
            return True
        return bool(self._poll.poll(None if timeout_s is None else timeout_s * 1000))


def reader_has_left(fd: int) -> bool:
    """Return whether nobody reads a pipe, a socket or a terminal any more. On Windows it is not known."""
    return sys.platform != "win32" and Ready(ends=[fd]).wait(0)
