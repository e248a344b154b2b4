"""Moments as they are told: RFC 3339 in UTC."""

from __future__ import annotations

import functools
import time

__all__ = ["rfc3339"]


def rfc3339(at_ms: int | None) -> str | None:
    """Return a time as RFC 3339 UTC with milliseconds, or None for none."""
    if at_ms is None:
        return None
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
