"""Builds the index of the search slice by slice, and keeps the beginnings of texts that came as files.

A slice is claimed, read in parts, and its index put in place by one transaction, if nothing in it has changed
meanwhile. So others can read and write in between, and whatever ends it, no slice is indexed by half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import apsw

from peerpost.store.db.ballast import require_space

from . import grams
from .grams import SLICE_BITS, Collected
from .searched import Side, of_entry, of_item

__all__ = [
    "LOOKED_AT",
    "PART_ROWS",
    "Coverage",
    "claim_next",
    "collect",
    "progress",
    "put",
    "put_head",
    "start_over",
    "unread",
]

PART_ROWS: Final = 64
"""How many messages are read at a time, in a few milliseconds."""
LOOKED_AT: Final = 8
"""In so many slices without an index a search looks at each message, in a tenth of a second; it misses the others."""
SIDES: Final[tuple[Side, ...]] = ("inbox", "outbox")

_ROWS: Final[dict[Side, str]] = {
    "inbox": "SELECT row_id, kind, foreign_kind, name, body,"
    " (SELECT head FROM long_texts WHERE row_id = inbox.row_id)"
    " FROM inbox WHERE row_id >= ? AND row_id < ? ORDER BY row_id LIMIT ?",
    "outbox": "SELECT row_id, kind, name, inner FROM outbox WHERE row_id >= ? AND row_id < ? ORDER BY row_id LIMIT ?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How far the index is."""

    slices: int
    """How many slices there are."""
    missed: int
    """How many of them a search misses."""
    left: int
    """How many are still to be indexed."""
    long_texts: int
    """How many texts that came as files cannot be found yet."""

    @property
    def share(self) -> float:
        """How many of the messages can be found, from 0 to 1."""
        return 1 - self.missed / self.slices if self.missed else 1.0


def progress(db: apsw.Connection) -> Coverage:
    """Return how far the index is."""
    slices = missed = left = 0
    for side in SIDES:
        built: int = db.execute(f"SELECT count(*) FROM {side}_slices WHERE built = 1").get  # noqa: S608
        without = len(grams.unindexed(db, side))
        slices += built + without
        missed += max(0, without - LOOKED_AT)
        left += max(0, without - 1)
    waiting: int = db.execute("SELECT count(*) FROM long_texts WHERE head IS NULL").get
    return Coverage(slices=slices, missed=missed, left=left, long_texts=waiting)


def claim_next(db: apsw.Connection) -> tuple[Side, int] | None:
    """Claim the newest slice that is whole and has no index; None if there is none. Raises StoreFullError."""
    for side in SIDES:
        # The first still grows.
        without = grams.unindexed(db, side)[1:]
        if without:
            require_space(db)
            grams.claim(db, side, without[0])
            return side, without[0]
    return None


def collect(
    db: apsw.Connection, side: Side, slice_: int, after_row_id: int | None, into: Collected
) -> int | None:
    """Read the next messages of a slice; return the last of them, None if there are no more."""
    first = slice_ << SLICE_BITS if after_row_id is None else after_row_id + 1
    rows: Any = db.execute(_ROWS[side], (first, (slice_ + 1) << SLICE_BITS, PART_ROWS))
    last = None
    text_of = of_item if side == "inbox" else of_entry
    for row_id, *columns in rows:
        into.add(row_id, text_of(*columns))
        last = row_id
    return last


def put(db: apsw.Connection, side: Side, slice_: int, rows: list[tuple[int, str, bytes]]) -> bool:
    """Store the index of a slice; return False if it has changed meanwhile. Raises StoreFullError."""
    require_space(db)
    return grams.put(db, side, slice_, rows)


def unread(db: apsw.Connection, limit: int) -> list[str]:
    """Return the ids of messages whose texts came as files and were not read yet, the newest first."""
    rows: Any = db.execute(
        "SELECT id FROM long_texts JOIN inbox USING (row_id) WHERE head IS NULL"
        " ORDER BY row_id DESC LIMIT ?",
        (limit,),
    )
    return [str(id_) for (id_,) in rows]


def put_head(db: apsw.Connection, row_id: int, head: bytes) -> None:
    """Keep the beginning of a text that came as a file, by which it is found from then on."""
    db.execute("UPDATE long_texts SET head = ? WHERE row_id = ? AND head IS NULL", (head, row_id))


def start_over(db: apsw.Connection) -> None:
    """Empty the index, which is then built anew."""
    grams.start_over(db, SIDES)
