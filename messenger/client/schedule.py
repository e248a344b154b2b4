"""Everybody's limits by the time of day: `schedule = ["mon-fri 08:00-18:00 up=1MB/s down=5MB/s"]`.

While a window holds, the limits that it names replace those of `limits set`; if several hold, the first counts. Times
are the machine's local time, and a window that ends before it begins goes over midnight.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from .units import parse_size

__all__ = ["ScheduleWindow", "at", "parse"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = {"up": "up_bytes_s", "down": "down_bytes_s", "messages": "messages_s"}
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleWindow:
    """One line of the schedule."""

    text: str
    days: frozenset[int]
    """The days on which it begins; Monday is 0."""
    from_min: int
    """Minutes since midnight."""
    to_min: int
    limits: dict[str, int | None]
    """By the names of `RateLimit`'s fields; None is no limit."""

    def holds(self, day: int, minute: int) -> bool:
        """Return whether it holds at a minute of a day of the week."""
        if self.from_min < self.to_min:
            return day in self.days and self.from_min <= minute < self.to_min
        if minute >= self.from_min:
            return day in self.days
        return minute < self.to_min and (day - 1) % 7 in self.days


def parse(text: str) -> ScheduleWindow:
    """Return a line of the schedule. Raises ValueError saying what is wrong with it."""
    words = text.lower().split()
    days = frozenset(range(7))
    if words and not words[0][:1].isdigit():
        days = _days(words.pop(0))
    if len(words) < 2:
        raise ValueError(f"{text!r}: write [DAYS] HH:MM-HH:MM up=RATE down=RATE messages=N")
    begin, _, end = words.pop(0).partition("-")
    limits = dict(_limit(word) for word in words)
    return ScheduleWindow(
        text=text, days=days, from_min=_minute(begin) % _DAY_MIN, to_min=_minute(end), limits=limits
    )


def at(windows: Iterable[ScheduleWindow], now: time.struct_time) -> ScheduleWindow | None:
    """Return the window that holds now, if one does."""
    minute = now.tm_hour * 60 + now.tm_min
    return next((window for window in windows if window.holds(now.tm_wday, minute)), None)


def _days(word: str) -> frozenset[int]:
    days: set[int] = set()
    for part in word.split("+"):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(f"{part!r} is no day; write mon, sat-sun or mon+wed+fri")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {day % 7 for day in range(begin, end + 1 + 7 * (end < begin))}
    return frozenset(days)


def _minute(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time of day; write 08:00-18:00")
    return int(match[1]) * 60 + int(match[2]) if match[1] else _DAY_MIN


def _limit(word: str) -> tuple[str, int | None]:
    name, _, value = word.partition("=")
    if name not in _NAMES or not value:
        raise ValueError(f"{word!r} is no limit; write up=1MB/s, down=off or messages=50")
    if value == "off":
        return _NAMES[name], None
    number = parse_size(value.removesuffix("/s"))
    if not number:
        raise ValueError(f"{word!r}: a limit is positive; 'off' is none")
    return _NAMES[name], number
