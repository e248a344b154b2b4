"""The index of the search: for each one, two and three letters in a row (a *gram*), which messages have them.

Messages are indexed by the slice: SLICE_ROWS rows with numbers in a row, all at once. The newest slice, which still
grows, has no index, nor has one in which something was deleted a moment ago: their messages are looked at themselves.
So receiving a message costs nothing here, one that is deleted is gone from the index with the rows of its slice, in the
same transaction, and a search never misses what was committed.

A gram of a slice is a row, with the places in the slice of the messages that have it: two bytes for each place, or one
bit for each message of the slice if that is shorter.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apsw

from peerpost.store.fold import fold

from .searched import Side

__all__ = [
    "AT_ONCE",
    "SLICE_BITS",
    "SLICE_ROWS",
    "Collected",
    "candidates",
    "claim",
    "grams_of",
    "index_of",
    "put",
    "start_over",
    "unindexed",
]

SLICE_BITS: Final = 12
SLICE_ROWS: Final = 1 << SLICE_BITS
"""The schema has this number too."""
LONGEST: Final = 3
"""The letters of the longest gram."""
FIRST_GRAMS: Final = 3
"""How many of a term are looked up in each slice: the rarest, which exclude nearly all that do not have it."""
ENOUGH: Final = 4
"""If they leave more candidates of a slice than these, more grams are looked up."""
MOST_GRAMS: Final = 12
"""How many at most."""
MOST_CONSIDERED: Final = 64
"""How many they are chosen from; of a long term these are spread over it."""
BITMAP_BYTES: Final = SLICE_ROWS // 8
FIRST_SLICES: Final = 4
"""Of how many slices the index is asked at first: the newest have all that is wanted of most terms."""
MOST_SLICES: Final = 64
AT_ONCE: Final = 4
"""Of how many slices the index goes in one transaction, with messages in them: each takes some ten milliseconds."""
ROWS: Final = 256
"""Rows of one statement."""
_PUT: Final[dict[Side, str]] = {
    "inbox": "INSERT INTO inbox_grams (slice, gram, rows) VALUES ",
    "outbox": "INSERT INTO outbox_grams (slice, gram, rows) VALUES ",
}
_CLAIM: Final[dict[Side, str]] = {
    "inbox": "INSERT OR IGNORE INTO inbox_slices (slice, built) VALUES (?, 0)",
    "outbox": "INSERT OR IGNORE INTO outbox_slices (slice, built) VALUES (?, 0)",
}
_BUILT: Final[dict[Side, str]] = {
    "inbox": "UPDATE inbox_slices SET built = 1 WHERE slice = ? AND built = 0",
    "outbox": "UPDATE outbox_slices SET built = 1 WHERE slice = ? AND built = 0",
}
_EMPTY: Final[dict[Side, str]] = {
    "inbox": "DELETE FROM inbox_slices",
    "outbox": "DELETE FROM outbox_slices",
}


class Collected:
    """The grams of a slice, while its messages are read."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}

    def add(self, row_id: int, text: str | None) -> None:
        """Add what is searched of a message. They come in the order of their numbers."""
        if text is None:
            return
        place, places = row_id & (SLICE_ROWS - 1), self._places
        for gram in grams_of(text):
            if gram in places:
                places[gram].append(place)
            else:
                places[gram] = [place]

    def rows(self, slice_: int) -> list[tuple[int, str, bytes]]:
        """Return the rows of the index, in its order."""
        return [(slice_, gram, _packed(self._places[gram])) for gram in sorted(self._places)]


def grams_of(text: str) -> set[str]:
    """Return each one, two and three letters in a row that a text has, folded."""
    folded = fold(text)
    found = set(folded)
    for length in range(2, LONGEST + 1):
        found.update([folded[at : at + length] for at in range(len(folded) - length + 1)])
    return found


def _packed(places: list[int]) -> bytes:
    if 2 * len(places) < BITMAP_BYTES:
        return struct.pack(f"<{len(places)}H", *places)
    bits = bytearray(BITMAP_BYTES)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def _in_all(grams: list[bytes]) -> int:
    """Return the places that all these rows of the index have, as the bits of a number."""
    few: set[int] | None = None
    bits = -1
    # The shortest first: what is left of it soon is little, or nothing.
    for rows in sorted(grams, key=len):
        if len(rows) < BITMAP_BYTES:
            places = struct.unpack(f"<{len(rows) // 2}H", rows)
            few = set(places) if few is None else few.intersection(places)
        elif few is None:
            bits &= int.from_bytes(rows, "little")
        else:
            few = {place for place in few if rows[place >> 3] >> (place & 7) & 1}
        if not (bits if few is None else few):
            return 0
    return bits if few is None else sum(1 << place for place in few)


def _asked(term: str) -> list[str]:
    """Return grams of a folded term; a message without one of them does not have the term."""
    if len(term) <= LONGEST:
        return [term]
    last = len(term) - LONGEST
    step = -(-(last + 1) // MOST_CONSIDERED)
    return list(dict.fromkeys(term[at : at + LONGEST] for at in (*range(0, last, step), last)))


def _rarest_first(db: apsw.Connection, side: Side, asked: list[str]) -> list[str]:
    """Return the grams that exclude most, by the newest index."""
    places = ", ".join("?" * len(asked))
    rows: Any = db.execute(
        f"SELECT gram, length(rows) FROM {side}_grams WHERE gram IN ({places}) AND slice ="  # noqa: S608
        f" (SELECT max(slice) FROM {side}_slices WHERE built = 1)",
        asked,
    )
    size = dict(rows)
    return sorted(asked, key=lambda gram: size.get(gram, 0))[:MOST_GRAMS]


def candidates(
    db: apsw.Connection, side: Side, term: str, newest: int, oldest: int
) -> Iterator[tuple[int, int]]:
    """Yield the slices from `newest` down to `oldest` whose index has candidates for a folded term, the newest first.

    The candidates are the bits of a number: that of the first message of the slice is the lowest.
    """
    asked = _rarest_first(db, side, _asked(term))
    asked, more = asked[:FIRST_GRAMS], asked[FIRST_GRAMS:]
    names = [f"g{at}" for at in range(len(asked))]
    joins = " ".join(
        f"CROSS JOIN {side}_grams AS {name} ON {name}.slice = s.slice AND {name}.gram = ?"
        for name in names
    )
    query = (
        f"SELECT s.slice, {', '.join(f'{name}.rows' for name in names)} FROM {side}_slices AS s {joins}"  # noqa: S608
        " WHERE s.built = 1 AND s.slice BETWEEN ? AND ? ORDER BY s.slice DESC LIMIT ?"
    )
    count = FIRST_SLICES
    while True:
        # Whoever takes these may stop at any: a statement that has not come to its end would keep what it sees.
        found: Any = db.execute(query, (*asked, oldest, newest, count)).fetchall()
        for slice_, *rows in found:
            if bits := _narrowed(db, side, slice_, _in_all(rows), more):
                yield slice_, bits
        if len(found) < count:
            return
        newest = found[-1][0] - 1
        count = min(4 * count, MOST_SLICES)


def _narrowed(db: apsw.Connection, side: Side, slice_: int, bits: int, grams: Sequence[str]) -> int:
    """Return the candidates of a slice that have more grams too, as far as that is worth while."""
    query = f"SELECT rows FROM {side}_grams WHERE slice = ? AND gram = ?"  # noqa: S608
    for gram in grams:
        if bits.bit_count() <= ENOUGH:
            break
        rows = db.execute(query, (slice_, gram)).get
        bits &= 0 if rows is None else _in_all([rows])
    return bits


def unindexed(db: apsw.Connection, side: Side) -> list[int]:
    """Return the slices that have messages and no index, the newest first: the first of them still grows."""
    # Each by a query of its own, for which SQLite looks at one row; for both together it looks at all.
    first, last = (
        db.execute(f"SELECT {which}(row_id) >> {SLICE_BITS} FROM {side}").get  # noqa: S608
        for which in ("min", "max")
    )
    if last is None:
        return []
    rows: Any = db.execute(f"SELECT slice FROM {side}_slices WHERE built = 1")  # noqa: S608
    built = {slice_ for (slice_,) in rows}
    return [slice_ for slice_ in range(last, first - 1, -1) if slice_ not in built]


def claim(db: apsw.Connection, side: Side, slice_: int) -> None:
    """Note that a slice is about to be read. If it changes from now on, `put` does nothing."""
    db.execute(_CLAIM[side], (slice_,))


def put(
    db: apsw.Connection, side: Side, slice_: int, rows: Sequence[tuple[int, str, bytes]]
) -> bool:
    """Store the index of a slice; return False if the slice has changed since it was claimed."""
    db.execute(_BUILT[side], (slice_,))
    if not db.changes():
        return False
    for at in range(0, len(rows), ROWS):
        some = rows[at : at + ROWS]
        places = ", ".join(["(?, ?, ?)"] * len(some))
        db.execute(_PUT[side] + places, tuple(itertools.chain.from_iterable(some)))
    return True


def index_of(db: apsw.Connection, item_id: str) -> int | None:
    """Return the slice whose index a message of the inbox is in; None if it is in none."""
    query = (
        f"SELECT slice FROM inbox_slices WHERE slice = (SELECT row_id >> {SLICE_BITS} FROM inbox"  # noqa: S608
        " WHERE id = ?)"
    )
    slice_: int | None = db.execute(query, (item_id,)).get
    return slice_


def start_over(db: apsw.Connection, sides: Iterable[Side]) -> None:
    """Empty the index: it is built anew in the background."""
    for side in sides:
        db.execute(_EMPTY[side])
