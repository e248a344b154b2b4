"""Numbers and their length."""

from __future__ import annotations

__all__ = ["int_bytelen"]


def int_bytelen(number: int) -> int:
    """Return how many bytes hold a number of 0 or more; 0 takes one."""
    return max(1, (number.bit_length() + 7) // 8)
