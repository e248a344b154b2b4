"""The index of the search against the messages: it must say of each just what it has, and nothing of any other."""

from __future__ import annotations

from typing import Any

import apsw

from peerpost.store.tables import grams
from peerpost.store.tables.searched import of_entry, of_item

ROWS = {
    "inbox": "SELECT row_id, kind, foreign_kind, name, body,"
    " (SELECT head FROM long_texts WHERE row_id = inbox.row_id) FROM inbox",
    "outbox": "SELECT row_id, kind, name, inner FROM outbox",
}
TEXT_OF: dict[str, Any] = {"inbox": of_item, "outbox": of_entry}


def wanted(db: apsw.Connection, side: str) -> set[tuple[str, int]]:
    """Return (gram, row) of everything that should be in an index: of the slices that are said to have one."""
    built = {row[0] for row in db.execute(f"SELECT slice FROM {side}_slices WHERE built = 1")}
    found: set[tuple[str, int]] = set()
    rows: Any = db.execute(ROWS[side])
    for row_id, *columns in rows:
        text = TEXT_OF[side](*columns)
        if text is not None and row_id >> grams.SLICE_BITS in built:
            found |= {(gram, row_id) for gram in grams.grams_of(text)}
    return found


def held(db: apsw.Connection, side: str) -> set[tuple[str, int]]:
    """Return (gram, row) of everything that is in an index."""
    found: set[tuple[str, int]] = set()
    rows: Any = db.execute(f"SELECT slice, gram, rows FROM {side}_grams")
    for slice_, gram, packed in rows:
        bits = grams._in_all([packed])
        assert bits
        while bits:
            place = bits.bit_length() - 1
            bits ^= 1 << place
            found.add((gram, (slice_ << grams.SLICE_BITS) + place))
    return found


def check(db: apsw.Connection) -> None:
    """Fail where an index is not what the messages are."""
    for side in ROWS:
        assert held(db, side) == wanted(db, side), side


def build(rig: Any) -> int:
    """Index all slices that are whole, as the node does in the background; return how many."""
    from peerpost.store.tables import indexing

    count = 0
    while (claimed := rig.write(indexing.claim_next)) is not None:
        collected = grams.Collected()
        last = None
        while (last := rig.read(indexing.collect, *claimed, last, collected)) is not None:
            pass
        assert rig.write(indexing.put, *claimed, collected.rows(claimed[1]))
        count += 1
    return count
