"""Many rows by one statement: a step of SQLite for all of them, not one for each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import apsw

__all__ = ["insert_rows"]

ROWS = 64
"""Rows of one statement: a few hundred values, of the 32,766 that SQLite takes."""


def insert_rows(
    db: apsw.Connection, table: str, columns: str, rows: Sequence[Sequence[Any]]
) -> int:
    """Insert rows in this order and return the row id of the first; the others follow it.

    That is not so if the table's integer primary key is among the columns.
    """
    values = f"({', '.join('?' * len(rows[0]))})"
    first = None
    for at in range(0, len(rows), ROWS):
        some = rows[at : at + ROWS]
        db.execute(
            f"INSERT INTO {table} ({columns}) VALUES {', '.join([values] * len(some))}",  # noqa: S608
            tuple(itertools.chain.from_iterable(some)),
        )
        if first is None:
            first = db.last_insert_rowid() - len(some) + 1
    return first or 0
