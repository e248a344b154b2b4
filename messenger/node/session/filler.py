"""Filler on a bulk lane, to measure what the lane carries: segments of a file that nobody was offered.

A receiver passes over those (PROTOCOL.md, "Segments"), so any contact can be measured.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final

from peerpost.errors import UnavailableError
from peerpost.protocol.limit import Limit
from peerpost.wire.inner import Lane
from peerpost.wire.segment import Segment

from .session import Session

__all__ = ["fill"]

_DATA_BYTES: Final = (64, 32 << 10)
"""In one segment, at least and at most: under a limit what passes in a tenth of a second, for none is cut off."""
_QUEUED_S: Final = 0.1
"""How much is queued at most: what still leaves when the measurement is over."""
_SETTLE_S: Final = 0.5
"""Not counted: a limit's burst passes in an eighth of a second."""
_STEP_S: Final = 0.002


async def fill(
    session: Session, limit: Limit, rate_bytes_s: int | None, seconds: float
) -> tuple[int, float]:
    """Keep a session's bulk lane busy; return bytes that passed its limit, of files too, and seconds.

    `rate_bytes_s` is what it is held to, or None. Raises UnavailableError where the session ends.
    """
    least, most = _DATA_BYTES
    size = most if rate_bytes_s is None else max(least, min(most, rate_bytes_s // 10))
    data = memoryview(secrets.token_bytes(size))
    frames = Segment.frames(secrets.token_bytes(16), 0, data, size)
    begun_s = from_s = time.monotonic()
    first = before = limit.taken_bytes
    counting = False
    while (now_s := time.monotonic()) < begun_s + _SETTLE_S + seconds:
        if session.cause is not None:
            raise UnavailableError(f"the connection was lost: {session.cause}")
        if not counting and now_s >= begun_s + _SETTLE_S:
            counting, before, from_s = True, limit.taken_bytes, now_s
        pace = (limit.taken_bytes - first) / max(now_s - begun_s, _STEP_S)
        if rate_bytes_s is not None:
            pace = min(pace, rate_bytes_s)  # What a burst lets through at first is no pace.
        if session.queued_bytes(Lane.BULK) > max(2 * size, pace * _QUEUED_S):
            await asyncio.sleep(_STEP_S)
        else:
            await session.send_chunk(frames)
    return limit.taken_bytes - before, time.monotonic() - from_s
