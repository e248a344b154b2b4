"""What waits in the kernel and has not left once: what is urgent comes behind it.

TCP_NOTSENT_LOWAT keeps it short only as a rule. Linux fills up what is to be its next segment, to 64 KiB, whatever
that says; and when it sends little for a while (bbr every ten seconds, anyone after a loss), all of that is in the way.
So on a long line, where less than that may wait, it is asked before each piece of bulk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peerpost.net import sockets

__all__ = ["Unsent"]

SEGMENT_BYTES = 64 << 10
AGAIN_S = 0.001
"""Nothing tells when there is room again, so it is looked at: less than the time of the line that may wait."""


class Unsent:
    """The kernel's side of one socket."""

    def __init__(self, socket: asyncio.Transport, again: Callable[[], object]) -> None:
        """Take a socket, and what to call when there may be room."""
        self._socket = socket
        self._again = again
        self._kept_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def keep(self, size_bytes: int) -> None:
        """Let so much wait."""
        if size_bytes != self._kept_bytes:
            self._kept_bytes = size_bytes
            sockets.keep_unsent(self._socket, size_bytes)

    def has_room(self) -> bool:
        """Tell whether bulk may be added: not while half of what may wait does; `again` is called then, once."""
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
