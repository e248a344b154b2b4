"""Times in the form that people use."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

__all__ = ["ago_ms", "moment_ms", "relative", "relative_to_just_now"]

_DAY_S = 86400
_JUST_S = 20.0
"""How much may have passed since the time was set: a command may have to start the node first."""
_JUST_SHARE = 0.01
"""The same as a share of the time left; the smaller of the two counts."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""


def relative(text: str, now: datetime | None = None) -> str:
    """Return an RFC 3339 time as "3 min ago" or "in 2 h"; beyond a week as its date."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return "now"
    if distance > 7 * _DAY_S:
        with suppress(OverflowError, ValueError, OSError):
            moment = moment.astimezone()
        return moment.date().isoformat()
    for unit, length in (("d", _DAY_S), ("h", 3600), ("min", 60), ("s", 1)):
        if distance >= length:
            count = f"{int(distance // length)} {unit}"
            return f"{count} ago" if seconds > 0 else f"in {count}"
    return "now"


def relative_to_just_now(text: str, now: datetime | None = None) -> str:
    """Return how far ahead a time is that was set some seconds ago: "in 1 d" for 24 h, and not "in 23 h"."""
    now = now or datetime.now(UTC)
    try:
        ahead_s = (datetime.fromisoformat(text) - now).total_seconds()
    except (ValueError, TypeError):
        return text
    return relative(text, now - timedelta(seconds=min(_JUST_S, max(0.0, _JUST_SHARE * ahead_s))))


def ago_ms(duration_s: float) -> int:
    """Return the moment that long ago in Unix milliseconds; 0 if it is before 1970."""
    return max(0, int((datetime.now(UTC).timestamp() - duration_s) * 1000))


def moment_ms(text: str, now: datetime | None = None) -> int:
    """Return a moment in Unix milliseconds: an RFC 3339 time or date, or how long ago ("2h").

    A time without a zone is local. Raises ValueError saying what is expected.
    """
    from peerpost.client.units import parse_duration

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            ago_s = parse_duration(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is not a time; write 2026-11-23, 2026-11-23T15:00:00Z or 2h (ago)"
            ) from None
        return max(0, int(((now or datetime.now(UTC)).timestamp() - ago_s) * 1000))
    try:
        # On the first and last day of the calendar, the conversion to local time fails.
        exact = moment if moment.tzinfo else moment.astimezone()
        ms = (exact - _EPOCH) // timedelta(milliseconds=1)
        if not -_DAY_S * 1000 <= ms <= _LAST_MS:
            raise OverflowError
    except (OverflowError, ValueError, OSError):
        raise ValueError(f"{text!r} is out of range: a time is from 1970 to 9999") from None
    # East of Greenwich, the local 1970-01-01 begins before the epoch.
    return max(0, ms)
