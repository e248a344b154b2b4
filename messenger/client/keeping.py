"""What stays in the inbox: the greatest age, size and number of messages, for everybody or for one contact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .units import parse_duration, parse_size

__all__ = ["Keep", "parse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What stays; None means no bound."""

    age_s: float | None = None
    size_bytes: int | None = None
    count: int | None = None

    @property
    def limits(self) -> bool:
        """Whether there is any bound."""
        return self != Keep()


def parse(text: str) -> tuple[str, Keep]:
    """Return the contact that a line names, and what stays of it. Raises ValueError saying what is wrong."""
    name, *words = text.split() or [""]
    found: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in _VALUES or not value:
            raise ValueError(f"{word!r}: write for=90d, size=10GiB, count=1000 or for=off")
        field, read = _VALUES[key]
        if field in found:
            raise ValueError(f"{text!r}: {key} stands there twice")
        found[field] = None if value == "off" else _positive(word, read(value))
    if not found:
        raise ValueError(f"{text!r}: write NAME for=AGE size=SIZE count=NUMBER, or one of them")
    return name, Keep(**found)


def _positive(word: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{word!r} would keep nothing; 'off' is no limit")
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise ValueError(f"{text!r} is no number of messages")
    return int(text)


_VALUES: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "for": ("age_s", parse_duration),
    "size": ("size_bytes", parse_size),
    "count": ("count", _number),
}
