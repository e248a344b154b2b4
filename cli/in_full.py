"""What a number of bytes was taken for: one without a unit is bytes, and is seldom meant so."""

from __future__ import annotations

__all__ = ["in_full"]

LEAST_LIKELY_BYTES = 1000
"""Less than this is most often a number whose unit was forgotten."""


def in_full(option: str, size_bytes: int, per: str = "") -> str:
    """Return what `--option` was set to, in bytes `per` time, and the form that may have been meant instead."""
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
