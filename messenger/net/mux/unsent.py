"""Data that waits in the kernel and was never sent; urgent data comes after it, so it must be little.

TCP_NOTSENT_LOWAT usually keeps it small. But Linux fills its next segment up to 64 KiB whatever that option says, and
when TCP sends little for a while (bbr every ten seconds, any algorithm after a loss), urgent data waits for all of it.
So on a long line, where less than 64 KiB may wait, the kernel is asked before each piece of bulk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peerpost.net import sockets

__all__ = ["Unsent"]

SEGMENT_BYTES = 64 << 10
AGAIN_S = 0.001
"""The kernel does not tell when there is room again, so it is polled at this interval. It is shorter than the time that
the line takes for what may wait."""


class Unsent:
    """The kernel's side of one socket."""

    def __init__(self, socket: asyncio.Transport, again: Callable[[], object]) -> None:
        """Take a socket, and a function to call when there may be room."""
        self._socket = socket
        self._again = again
        self._kept_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Stop polling."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def keep(self, size_bytes: int) -> None:
        """Set how much may wait."""
        if size_bytes != self._kept_bytes:
            self._kept_bytes = size_bytes
            sockets.keep_unsent(self._socket, size_bytes)

    def has_room(self) -> bool:
        """Return whether bulk may be added: less than half of what may wait is waiting.

        If not, `again` is called once, later, when there may be room.
        """
        if self._kept_bytes >= SEGMENT_BYTES:
            return True
        if 2 * sockets.unsent_bytes(self._socket) <= self._kept_bytes:
            return True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AGAIN_S, self._look_again)
        return False

    def _look_again(self) -> None:
        self._timer = None
        self._again()
