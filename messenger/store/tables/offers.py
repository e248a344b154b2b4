"""Offers to us that wait: which may begin now, which the user is asked about, and how many there may be.

An offer that cannot be taken now stays `offered`; its row is the only record of it. When a place is free, its turn
comes; if there is no room then, it goes on waiting. None of this is a reason to refuse it.
"""

from __future__ import annotations

from typing import Final

import apsw

from . import transfers
from .transfers import Transfer

__all__ = ["asking", "promised_bytes", "under_way", "unwanted", "waiting"]

_COMING: Final = "contact_id = ? AND incoming = 1"


def under_way(db: apsw.Connection, contact_id: str, *, as_text: bool) -> int:
    """Return how many files, or long texts, are being received from a contact now."""
    query = f"SELECT count(*) FROM transfers WHERE {_COMING} AND state = 'active' AND as_text = ?"  # noqa: S608
    count: int = db.execute(query, (contact_id, as_text)).get
    return count


def promised_bytes(db: apsw.Connection) -> int:
    """Return how many bytes the files that are being received, from all contacts, still need on the disk."""
    query = (
        "SELECT coalesce(sum(max(0, coalesce(finish_size, size, 0) - progress_bytes)), 0)"
        " FROM transfers WHERE incoming = 1 AND state = 'active'"
    )
    needed: int = db.execute(query).get
    return needed


def asking(db: apsw.Connection, contact_id: str | None) -> list[Transfer]:
    """Return what the user is asked about, of one contact or of all."""
    where = "incoming = 1 AND state = 'asking' AND (?1 IS NULL OR contact_id = ?1)"
    return transfers.select(db, where, (contact_id,))


def unwanted(db: apsw.Connection, contact_id: str) -> list[Transfer]:
    """Return the offered files that were not accepted, of a contact that may not send any."""
    return transfers.select(
        db,
        f"{_COMING} AND state = 'offered' AND as_text = 0 AND accepted_bytes IS NULL",
        (contact_id,),
    )


def waiting(
    db: apsw.Connection, contact_id: str, *, as_text: bool, after: int, limit: int
) -> list[tuple[int, Transfer]]:
    """Return what waits for its turn, in the order of the offers, with the number to go on after."""
    numbers = db.execute(
        f"SELECT rowid, id FROM transfers WHERE {_COMING} AND state = 'offered'"  # noqa: S608
        " AND as_text = ? AND rowid > ? ORDER BY rowid LIMIT ?",
        (contact_id, as_text, after, limit),
    ).fetchall()
    return [(int(number or 0), transfers.find(db, str(id_))) for number, id_ in numbers]
