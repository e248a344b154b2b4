"""Connects to a node whose queue of connections is full, because it is stopped or too busy to accept.

A plain connect would block in silence and ignore timeouts. So it is tried again and again without blocking.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from peerpost.errors import UnavailableError

__all__ = ["SilentError", "connect_in_turn"]

_PAUSE_S = 0.05


class SilentError(UnavailableError):
    """The node does not answer, and whoever asked has waited long enough."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        who = "" if pid is None else f" (process {pid})"
        super().__init__(
            f"the node{who} does not answer",
            hint="it may be stopped, or too busy: try again, or peerpost node stop",
        )


def connect_in_turn(
    sock: socket.socket,
    path: str,
    *,
    pid: Callable[[], int | None],
    told_after_s: float,
    tell: Callable[[], None] | None,
    patience_s: float | None,
) -> None:
    """Connect once there is room. `tell` is called once if there is none for `told_after_s`.

    Raises SilentError after `patience_s`, if that is given, naming the process `pid`; and the OSError of connect.
    """
    began_s = time.monotonic()
    sock.setblocking(False)
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            waited_s = time.monotonic() - began_s
            if patience_s is not None and waited_s >= patience_s:
                raise SilentError(pid()) from None
            if tell is not None and waited_s >= told_after_s:
                tell()
                tell = None
            time.sleep(_PAUSE_S)
        else:
            sock.setblocking(True)
            return
