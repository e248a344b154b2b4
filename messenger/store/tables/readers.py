"""Who reads the inbox as a stream, and how far each has acknowledged it.

A row of the inbox has a number that rises and is never given twice, so the number is a reader's cursor. What a reader
has not acknowledged is in the inbox itself, however old it is: nothing is kept for a reader, and nothing can be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import apsw

from peerpost.errors import BadInputError, NotFoundError, UnavailableError

__all__ = [
    "MOST_READERS",
    "Reader",
    "acknowledge",
    "beyond",
    "find",
    "list_all",
    "newest",
    "remove",
]

MOST_READERS: Final = 100
"""How many readers there may be. More are names that a program makes up each time it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A reader, and where it is."""

    name: str
    row_id: int
    """The last row that it has acknowledged; 0 if there is none."""
    acknowledged_ms: int | None
    """When; None if it has never acknowledged anything."""
    waiting: int = 0
    """How many messages come after that row."""


def newest(db: apsw.Connection) -> int:
    """Return the number of the newest row that the inbox has ever had, deleted or not; 0 if there was none."""
    number = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").get
    return int(number or 0)


def find(db: apsw.Connection, name: str) -> Reader:
    """Return a reader; one that has acknowledged nothing is at the beginning of the inbox."""
    query = "SELECT row_id, acknowledged_ms FROM readers WHERE name = ?"
    row: Any = db.execute(query, (name,)).fetchone()
    row_id, at_ms = row or (0, None)
    return Reader(name=name, row_id=row_id, acknowledged_ms=at_ms)


def acknowledge(db: apsw.Connection, name: str, row_id: int | None, now_ms: int) -> Reader:
    """Move a reader forward to a row, or with None to the newest; one that is beyond it already stays.

    Raises BadInputError for a row that the inbox has never had, UnavailableError if there are too many readers.
    """
    last = newest(db)
    if row_id is None:
        row_id = last
    if row_id > last:
        raise beyond(row_id, last)
    reader = find(db, name)
    if reader.acknowledged_ms is None:
        count: int = db.execute("SELECT count(*) FROM readers").get
        if count >= MOST_READERS:
            raise UnavailableError(
                f"there are {count} readers already, and no more than that are kept",
                hint="see: peerpost inbox readers; to remove one: peerpost inbox readers --remove NAME",
            )
    elif row_id <= reader.row_id:
        return reader
    db.execute("INSERT OR REPLACE INTO readers VALUES (?, ?, ?)", (name, row_id, now_ms))
    return Reader(name=name, row_id=row_id, acknowledged_ms=now_ms)


def beyond(row_id: int, last: int) -> BadInputError:
    """Return the error for a cursor that the inbox has never had."""
    return BadInputError(
        f"there is no message {row_id} yet: the newest cursor of this inbox is {last}",
        hint="a cursor of another home, or of this one before it was put back from a backup;"
        " see: peerpost --json inbox list --limit 1",
    )


def list_all(db: apsw.Connection) -> list[Reader]:
    """Return the readers by name, each with how many messages wait for it."""
    rows: Any = db.execute(
        "SELECT name, row_id, acknowledged_ms,"
        " (SELECT count(*) FROM inbox WHERE inbox.row_id > readers.row_id) FROM readers ORDER BY name"
    )
    return [
        Reader(name=name, row_id=row_id, acknowledged_ms=at_ms, waiting=waiting)
        for name, row_id, at_ms, waiting in rows
    ]


def remove(db: apsw.Connection, name: str) -> Reader:
    """Forget a reader, and return where it was. Raises NotFoundError."""
    reader = find(db, name)
    if reader.acknowledged_ms is None:
        raise NotFoundError(f"no reader {name!r}", hint="see: peerpost inbox readers")
    db.execute("DELETE FROM readers WHERE name = ?", (name,))
    return reader
