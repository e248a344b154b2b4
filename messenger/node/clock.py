"""The wall clock of the node, in one place: for display and expiry, never for order (PROTOCOL.md, "Sequenced
messages").
"""

from __future__ import annotations

import datetime
import time

__all__ = ["now_ms", "rfc3339"]


def now_ms() -> int:
    """Return the time since 1970 in milliseconds."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int | None) -> str | None:
    """Return a time as RFC 3339 UTC with milliseconds, or None for none."""
    if at_ms is None:
        return None
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
