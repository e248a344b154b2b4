"""The wall clock of the node, in one place: for display and expiry, never for order (PROTOCOL.md, "Sequenced
messages").
"""

from __future__ import annotations

import functools
import time

__all__ = ["local_time", "now_ms", "rfc3339"]


def now_ms() -> int:
    """Return the time since 1970 in milliseconds."""
    return time.time_ns() // 1_000_000


def local_time() -> time.struct_time:
    """Return the time of day where the machine is."""
    return time.localtime()


def rfc3339(at_ms: int | None) -> str | None:
    """Return a time as RFC 3339 UTC with milliseconds, or None for none."""
    if at_ms is None:
        return None
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
