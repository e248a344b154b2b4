"""Where a program that follows the journal is: the number of a row, and a checksum of what stands there.

The number alone would not do. A home that was put back from a backup gives numbers again that a later state of it had
given; whoever went on from one of those would miss as many changes. What stands in the row tells the two apart.
"""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

import apsw

from peerpost.errors import BadInputError
from peerpost.store.db import journal
from peerpost.store.db.journal import Transition

__all__ = ["BEGINNING", "PLACE", "JournalPlace", "encode", "find", "newest"]

BEGINNING: Final = "0"
"""Before all that is kept."""
PLACE: Final = r"0|[0-9]{1,18}-[0-9a-f]{8}"
"""The form of a place as programs have it."""


class JournalPlace(NamedTuple):
    """A place in the journal as it is now."""

    row_id: int
    """What comes after it is to be told."""
    is_kept: bool
    """Whether its row is still there. If not, what stood there may have been something else."""


def encode(row: Transition) -> str:
    """Return the place of a row as a program has it."""
    content = (row.at_ms, row.kind, row.subject, row.contact_id, row.before, row.after, row.what)
    return f"{row.id}-{zlib.crc32(repr(content).encode()):08x}"


def find(db: apsw.Connection, place: str) -> JournalPlace:
    """Find a place of the form `PLACE`. Raises BadInputError if this home has never given it."""
    row_id = int(place.partition("-")[0])
    if place == BEGINNING:
        return JournalPlace(0, is_kept=True)
    # Before the first row there is none, so that a number of 0 with a checksum is found to be wrong too.
    rows = journal.after(db, row_id - 1, 1)
    if not rows or (rows[0].id == row_id and encode(rows[0]) != place) or row_id < 1:
        raise BadInputError(
            f"this home has never given the cursor {place}",
            hint="it is of another home, or of this one before it was put back from a backup:"
            " look at everything anew, and begin without a cursor",
        )
    return JournalPlace(row_id, is_kept=rows[0].id == row_id)


def newest(db: apsw.Connection) -> str:
    """Return the place of the newest row."""
    rows = journal.after(db, journal.newest(db) - 1, 1)
    return encode(rows[0]) if rows else BEGINNING
