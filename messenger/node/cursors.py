"""Cursors: the text by which a row of the inbox or the outbox is named as the place where a list goes on."""

from __future__ import annotations

__all__ = ["cursor_of", "row_of"]


def cursor_of(row_id: int) -> str:
    """Return the cursor of a row: its number, with an `m` for minus if it was imported."""
    return str(row_id) if row_id >= 0 else f"m{-row_id}"


def row_of(cursor: str | None) -> int | None:
    """Return the number of the row that a cursor stands for."""
    if cursor is None:
        return None
    number = cursor.partition("-")[0]
    return -int(number[1:]) if number.startswith("m") else int(number)
