"""Repeats a size in full: a number without a unit means bytes, which is seldom what the user meant."""

from __future__ import annotations

__all__ = ["in_full"]

LEAST_LIKELY_BYTES = 1000
"""A smaller number is most likely one whose unit was forgotten."""


def in_full(option: str, size_bytes: int, per: str = "") -> str:
    """Return what `--option` was set to, in bytes `per` time; if that is very little, also what was probably meant."""
    from peerpost.client.units import format_size

    unit = "byte" if size_bytes == 1 else "bytes"
    each = " a second" if per else ""
    said = f"{option}: {size_bytes:,} {unit}{each}"
    if size_bytes >= LEAST_LIKELY_BYTES:
        return f"{said} ({format_size(size_bytes)}{per})."
    return (
        f"{said}. That is very little: a number without a unit is bytes; --{option} {size_bytes or 5}MB{per},"
        " for one, is more."
    )
