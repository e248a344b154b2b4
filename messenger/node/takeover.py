"""Locks a home, and takes it over from a node that a command has started.

Such a node serves whoever needs one, and leaves when it is idle. A node that was started by `node run` or `node start`
stays, because somebody relies on it. Only the node itself knows which of the two it is, so it is asked at its control
socket: it refuses, or begins to leave at once. If several nodes take over at the same time, the lock decides. The
others then ask the one that has the lock, and it refuses.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peerpost.client.connection import dial
from peerpost.errors import AlreadyRunningError, LockedError, UnavailableError
from peerpost.store.homelock import HomeLock

__all__ = ["TIMEOUT_S", "locked_home"]

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""How long a node may take to start or to leave: either usually takes about 1 s."""
_POLL_S = 0.02
"""How often to try the lock while another node starts or leaves: the lock does not report that it is free."""


@contextmanager
def locked_home(home: Path, *, takes_over: bool) -> Iterator[HomeLock]:
    """Hold the lock of a home; with `takes_over`, make a node that a command has started leave first.

    Raises AlreadyRunningError if the node that has it is to stay, or does not leave in time.
    """
    with _taken(home, takes_over=takes_over) as lock:
        yield lock


def _taken(home: Path, *, takes_over: bool) -> HomeLock:
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        lock = HomeLock(home)
        try:
            lock.take()
        except AlreadyRunningError:
            if not takes_over or time.monotonic() > deadline_s or _stays(home):
                raise
        else:
            return lock
        time.sleep(_POLL_S)


def _stays(home: Path) -> bool:
    """Ask the node to leave. Return whether it refuses; a node that is just starting or leaving gives no answer."""
    try:
        node = dial(home, patience_s=TIMEOUT_S)
        if node is None:
            return False
        with node:
            node.give_up_after(TIMEOUT_S)
            node.call("node.hand_over")
            log.info("the node that a command has started hands over")
            node.wait_closed(TIMEOUT_S)
    except (AlreadyRunningError, LockedError):
        return True
    except UnavailableError:
        pass
    return False
