"""The clock of the node, in one place: whoever needs the time is handed it, so that tests can run on virtual time.

Waiting is the event loop's (`asyncio.sleep`, `asyncio.timeout`, `call_later`); a loop on virtual time comes with a
`Clock` that reads that loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerpost.client.moments import rfc3339

__all__ = ["SYSTEM", "Clock", "rfc3339"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where the time is read."""

    monotonic_s: Callable[[], float] = time.monotonic
    """Returns seconds that never go back, on which all durations and deadlines are measured."""
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    """Returns the same in nanoseconds, for rates: a loop's own time may be in whole milliseconds."""
    thread_s: Callable[[], float] = time.thread_time
    """Returns the time that the processor has spent on this thread: what is measured by it is as long on a busy
    machine."""
    now_ms: Callable[[], int] = _now_ms
    """Returns the time since 1970 in milliseconds: for display and expiry, never for order (PROTOCOL.md, "Sequenced
    messages")."""
    local_time: Callable[[], time.struct_time] = time.localtime
    """Returns the time of day where the machine is."""


SYSTEM: Final = Clock()
"""The clock of the machine."""
