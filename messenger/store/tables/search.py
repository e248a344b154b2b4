"""Finds messages by any part of their text or file name, the newest first.

An index (`grams`) names candidates, and each is looked at, so that what is found is exact. In slices that have no index
each message is looked at: that is the newest one, and a few others at times. Where few messages are possible, because
they are of a contact that has sent few, all of these are looked at instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import apsw

from . import grams, inbox, outbox
from .grams import SLICE_BITS, SLICE_ROWS
from .inbox import Item
from .indexing import LOOKED_AT
from .matches import Match, match
from .outbox import Entry
from .searched import Side, of_entry, of_item

__all__ = ["FoundRows", "Hit", "Page", "Wanted", "received", "sent"]

Row = TypeVar("Row")

TURN_ROWS: Final = 4096
"""How many messages are looked at in one turn, in some ten milliseconds: there are few threads that read."""
FEW_ROWS: Final = 10_000
"""Up to so many messages of one contact are all looked at."""
ALL: Final = (1 << SLICE_ROWS) - 1
"""Every message of a slice is a candidate."""
LAST: Final = (1 << 63) - 1
FIRST: Final = -LAST
"""Rows that were imported are before row 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched for."""

    term: str
    """Folded, and not empty."""
    contact_id: str | None = None
    since_ms: int | None = None
    files: bool = False
    """Whether only files are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A message that has the term."""

    row_id: int
    at_ms: int
    """When it was received, or queued."""
    match: Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some hits, the newest first, and from where the search goes on."""

    hits: list[Hit]
    beyond: int | None
    """The row after which it goes on; None if that was all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRows(Generic[Row]):
    """Messages that were found, each with where it has the term."""

    rows: list[tuple[Hit, Row]]
    beyond: int | None
    """As of a `Page`."""


_WANTED: Final = (
    "((?2 IS NULL OR contact_id = ?2) AND (?3 IS NULL OR {at} >= ?3) AND (?4 = 0 OR kind = 'file'))"
)
# SQLite itself passes over texts without the term, if both are ASCII: then its `lower` is what `fold` does.
_ITEMS: Final = (
    "SELECT row_id, received_ms, kind, foreign_kind, name, body,"  # noqa: S608
    " iif(file_id NOTNULL, (SELECT head FROM long_texts WHERE row_id = inbox.row_id), NULL)"
    f" FROM inbox WHERE {_WANTED.format(at='received_ms')} AND (?1 IS NULL OR body IS NULL"
    " OR instr(lower(CAST(body AS TEXT)), ?1) OR length(CAST(body AS TEXT)) <> length(body))"
)
_ENTRIES: Final = (
    "SELECT row_id, created_ms, kind, name, inner"  # noqa: S608
    f" FROM outbox WHERE {_WANTED.format(at='created_ms')} AND ?1 IS ?1"
    " AND (state = 'delivered' OR origin NOTNULL OR contact_id IN (SELECT id FROM contacts))"
)
_SELECT: Final[dict[Side, str]] = {"inbox": _ITEMS, "outbox": _ENTRIES}
_ONE: Final = " AND row_id = ?5"
_SOME: Final = " AND row_id BETWEEN ?5 AND ?6 ORDER BY row_id DESC LIMIT ?7"
_DENSE: Final = 4
"""If more than one of so many messages of a slice is a candidate, the slice is read in one go."""
READ_ROWS: Final = 64
"""How many messages are read at once, if a slice is read in one go."""
_Row = tuple[int, int, Match | None]
"""The number of a message, its time, and where it has the term."""


def received(
    db: apsw.Connection, wanted: Wanted, limit: int, beyond: int | None
) -> FoundRows[Item]:
    """Find at most `limit` messages that were received; to go on, say beyond which row."""
    page = _page(db, "inbox", wanted, limit, beyond)
    rows = inbox.by_number(db, [hit.row_id for hit in page.hits])
    return FoundRows(rows=[(hit, rows[hit.row_id]) for hit in page.hits], beyond=page.beyond)


def sent(db: apsw.Connection, wanted: Wanted, limit: int, beyond: int | None) -> FoundRows[Entry]:
    """Find at most `limit` messages that were sent, of those that are listed."""
    page = _page(db, "outbox", wanted, limit, beyond)
    rows = outbox.by_number(db, [hit.row_id for hit in page.hits])
    return FoundRows(rows=[(hit, rows[hit.row_id]) for hit in page.hits], beyond=page.beyond)


def _page(db: apsw.Connection, side: Side, wanted: Wanted, limit: int, beyond: int | None) -> Page:
    """Look at candidates until `limit` hits are found, none is left, or it is somebody else's turn."""
    newest = LAST if beyond is None else beyond - 1
    oldest = _oldest(db, side, wanted)
    hits: list[Hit] = []
    if side == "inbox" and _is_of_few(db, wanted):
        looking = _of_contact(db, wanted, newest, oldest)
    else:
        looking = _looking(db, side, wanted, newest, oldest)
    for looked, (row_id, at_ms, found) in enumerate(looking, 1):
        if found is not None:
            hits.append(Hit(row_id=row_id, at_ms=at_ms, match=found))
        if len(hits) == limit or looked == TURN_ROWS:
            return Page(hits=hits, beyond=row_id)
    return Page(hits=hits, beyond=None)


def _looking(
    db: apsw.Connection, side: Side, wanted: Wanted, newest: int, oldest: int
) -> Iterator[_Row]:
    """Look at each candidate."""
    for slice_, bits in _slices(db, side, wanted.term, newest >> SLICE_BITS, oldest >> SLICE_BITS):
        first = slice_ << SLICE_BITS
        if bits.bit_count() * _DENSE > SLICE_ROWS:
            last = min(first + SLICE_ROWS - 1, newest)
            for row in _all(db, side, wanted, _SOME, max(first, oldest), last):
                if bits >> (row[0] - first) & 1:
                    yield row
            continue
        while bits:
            place = bits.bit_length() - 1
            bits ^= 1 << place
            if oldest <= first + place <= newest:
                yield from _looked_at(db, side, wanted, _ONE, (first + place,))


def _slices(
    db: apsw.Connection, side: Side, term: str, newest: int, oldest: int
) -> Iterator[tuple[int, int]]:
    """Yield slices with their candidates, those without an index too, the newest first."""
    without = [
        slice_ for slice_ in grams.unindexed(db, side)[:LOOKED_AT] if oldest <= slice_ <= newest
    ]
    at = 0
    for slice_, bits in grams.candidates(db, side, term, newest, oldest):
        while at < len(without) and without[at] > slice_:
            yield without[at], ALL
            at += 1
        yield slice_, bits
    for slice_ in without[at:]:
        yield slice_, ALL


def _all(
    db: apsw.Connection, side: Side, wanted: Wanted, which: str, oldest: int, newest: int
) -> Iterator[_Row]:
    """Look at all messages between two."""
    while rows := _looked_at(db, side, wanted, which, (oldest, newest, READ_ROWS)):
        yield from rows
        if len(rows) < READ_ROWS:
            return
        newest = rows[-1][0] - 1


def _looked_at(
    db: apsw.Connection, side: Side, wanted: Wanted, which: str, where: tuple[int, ...]
) -> list[_Row]:
    """Return the messages that are wanted, if they have the term or not."""
    plain = wanted.term if wanted.term.isascii() and "\0" not in wanted.term else None
    values = (plain, wanted.contact_id, wanted.since_ms, wanted.files, *where)
    text_of = of_item if side == "inbox" else of_entry
    rows: Any = db.execute(_SELECT[side] + which, values).fetchall()
    found: list[_Row] = []
    for row_id, at_ms, *columns in rows:
        text = text_of(*columns)
        found.append((row_id, at_ms, None if text is None else match(text, wanted.term)))
    return found


def _of_contact(db: apsw.Connection, wanted: Wanted, newest: int, oldest: int) -> Iterator[_Row]:
    """Look at each message of a contact."""
    return _all(db, "inbox", wanted, " AND contact_id = ?2" + _SOME, oldest, newest)


def _is_of_few(db: apsw.Connection, wanted: Wanted) -> bool:
    """Return whether messages of one contact are wanted that has sent few."""
    if wanted.contact_id is None:
        return False
    query = "SELECT count(*) FROM (SELECT 1 FROM inbox WHERE contact_id = ? LIMIT ?)"
    count: int = db.execute(query, (wanted.contact_id, FEW_ROWS + 1)).get
    return count <= FEW_ROWS


def _oldest(db: apsw.Connection, side: Side, wanted: Wanted) -> int:
    """Return the row at which the search ends: nothing that is wanted is older."""
    if side == "inbox" and wanted.since_ms is not None:
        # Rows have the order in which they came, and the clock may have been set back meanwhile.
        query = (
            "SELECT count(*), ifnull(min(row_id), ?3) FROM"
            " (SELECT row_id FROM inbox WHERE received_ms >= ?1 LIMIT ?2)"
        )
        row: Any = db.execute(query, (wanted.since_ms, FEW_ROWS + 1, LAST)).fetchone()
        if row[0] <= FEW_ROWS:
            return int(row[1])
    return FIRST
