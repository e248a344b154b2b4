"""Sizes and durations as people write them: "100MiB", "1.5 GB", "5min", "1h30min", "14d"."""

from __future__ import annotations

import re

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

_SIZES: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**n for n, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**n for n, letter in enumerate("kmgt", 1)},
}
_SECONDS = {
    "ms": 0.001,
    "s": 1,
    "sec": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "w": 7 * 86400,
}
_MAX_SIZE_BYTES = 1 << 62
"""What SQLite and every file system can count."""
_MAX_DURATION_S = 100 * 366 * 86400
"""A hundred years: longer is a typing error, and would exceed the range of dates."""

_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*")


def parse_size(text: str) -> int:
    """Return a size in bytes. "1kB" is 1000 and "1KiB" 1024 bytes. Raise ValueError saying why
    not.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = match[2].lower() if match else None
    if match is None or unit not in _SIZES:
        letter = (unit or "")[:1].upper()
        example = f"{letter}iB or {letter}B" if unit in ("k", "m", "g", "t") else "100MiB or 5MB"
        raise ValueError(f"{text!r} is not a size; write {example}")
    size = (
        round(float(match[1]) * _SIZES[unit]) if "." in match[1] else int(match[1]) * _SIZES[unit]
    )
    if size > _MAX_SIZE_BYTES:
        raise ValueError(f"{text!r} is larger than anything")
    return size


def parse_duration(text: str) -> float:
    """Return a duration in seconds; a bare number is seconds. Raise ValueError saying why not."""
    stripped = text.strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", stripped):
        total = float(stripped)
    else:
        total, at = 0.0, 0
        while at < len(stripped) or not stripped:
            part = _PART.match(stripped, at)
            unit = part[2].lower() if part else ""
            if part is None or unit not in _SECONDS:
                raise ValueError(f"{text!r} is not a duration; write 30s, 5min, 24h or 14d")
            total += float(part[1]) * _SECONDS[unit]
            at = part.end()
    if total > _MAX_DURATION_S:
        raise ValueError(f"{text!r} is more than a hundred years")
    return total


def format_size(size_bytes: int) -> str:
    """Return a size for a person: "512 B", "1.5 KiB", "10 MiB"."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 999.95 or unit == "TiB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def format_duration(seconds: float) -> str:
    """Return a duration for a person in its largest unit: "5s", "12min", "3h", "14d"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"
