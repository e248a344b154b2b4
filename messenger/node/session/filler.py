"""Filler on a bulk lane, to measure how much it carries: segments of a file that was never offered.

A receiver ignores such segments (PROTOCOL.md, "Segments"), so the line to any contact can be measured.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from peerpost.errors import UnavailableError
from peerpost.protocol.limit import Limit
from peerpost.wire.inner import Lane
from peerpost.wire.segment import Segment

from .session import Session

__all__ = ["fill"]

_DATA_BYTES: Final = (64, 32 << 10)
"""The smallest and the largest segment. Under a limit, a segment is what passes in a tenth of a second, because a
segment that is begun is always sent whole."""
_QUEUED_S: Final = 0.1
"""How much may be queued, as the time that the line needs for it. That is still sent after the measurement."""
_SETTLE_S: Final = 0.5
"""Time at the beginning that is not counted, because the burst of a limit passes in it."""
_STEP_S: Final = 0.002


async def fill(
    session: Session, limit: Limit, rate_bytes_s: int | None, seconds: float
) -> tuple[int, float]:
    """Keep a session's bulk lane busy; return the bytes that passed its limit, including files, and the seconds.

    `rate_bytes_s` is the limit in force, or None. Raises UnavailableError if the session ends.
    """
    least, most = _DATA_BYTES
    size = most if rate_bytes_s is None else max(least, min(most, rate_bytes_s // 10))
    data = memoryview(secrets.token_bytes(size))
    frames = Segment.frames(secrets.token_bytes(16), 0, data, size)
    now = session.clock.monotonic_s
    begun_s = from_s = now()
    first = before = limit.taken_bytes
    counting = False
    while (now_s := now()) < begun_s + _SETTLE_S + seconds:
        if session.cause is not None:
            raise UnavailableError(f"the connection was lost: {session.cause}")
        if not counting and now_s >= begun_s + _SETTLE_S:
            counting, before, from_s = True, limit.taken_bytes, now_s
        pace = (limit.taken_bytes - first) / max(now_s - begun_s, _STEP_S)
        if rate_bytes_s is not None:
            pace = min(pace, rate_bytes_s)  # A burst at the beginning is faster than the limit.
        if session.queued_bytes(Lane.BULK) > max(2 * size, pace * _QUEUED_S):
            await asyncio.sleep(_STEP_S)
        else:
            await session.send_chunk(frames)
    return limit.taken_bytes - before, now() - from_s
