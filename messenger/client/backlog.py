"""Connects to a node whose queue of connections is full, because it is stopped or too busy to accept.

A plain connect would block in silence and ignore timeouts. So it is tried again and again without blocking: the system
does not report when there is room.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from peerpost.errors import UnavailableError

__all__ = ["ConnectPatience", "SilentError", "connect_in_turn"]

_PAUSE_S = 0.05
"""Between two tries."""


class SilentError(UnavailableError):
    """The node does not answer, and whoever asked has waited long enough."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        who = "" if pid is None else f" (process {pid})"
        super().__init__(
            f"the node{who} does not answer",
            hint="it may be stopped, or too busy: try again, or peerpost node stop",
        )


class ConnectPatience:
    """How long a command waits for a connection, from now on."""

    def __init__(
        self,
        *,
        pid: Callable[[], int | None],
        told_after_s: float,
        tell: Callable[[], None] | None,
        patience_s: float | None,
    ) -> None:
        """`tell` is called once, after `told_after_s`; after `patience_s`, if that is given, the wait is over."""
        self._pid = pid
        self._told_after_s = told_after_s
        self._tell = tell
        self._patience_s = patience_s
        self._began_s = time.monotonic()

    def look(self) -> None:
        """Look at the clock while nothing answers. Raises SilentError, which names the process, when it is over."""
        waited_s = time.monotonic() - self._began_s
        if self._patience_s is not None and waited_s >= self._patience_s:
            raise SilentError(self._pid()) from None
        if self._tell is not None and waited_s >= self._told_after_s:
            self._tell()
            self._tell = None


def connect_in_turn(sock: socket.socket, path: str, patience: ConnectPatience) -> None:
    """Connect once there is room. Raises SilentError when the patience is over, and the OSError of connect."""
    sock.setblocking(False)
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            patience.look()
            time.sleep(_PAUSE_S)
        else:
            sock.setblocking(True)
            return
