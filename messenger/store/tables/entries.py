"""The entries of the outbox as the user sees them: listed, counted, and found by the file they offer."""

from __future__ import annotations

import apsw

from . import outbox
from .outbox import Entry
from .states import ENTRY_OPEN

__all__ = ["depth_bytes", "depths", "id_of_file", "list_entries"]


def id_of_file(db: apsw.Connection, contact_id: str, file_id: bytes) -> str | None:
    """Return the id of the entry that offers a file to a contact, or None."""
    row = db.execute(
        "SELECT id FROM outbox WHERE contact_id = ? AND file_id = ?", (contact_id, file_id)
    ).fetchone()
    return None if row is None else str(row[0])


def list_entries(
    db: apsw.Connection,
    *,
    contact_id: str | None,
    pending: bool,
    limit: int,
    beyond_row_id: int | None = None,
) -> list[Entry]:
    """Return entries of contacts: the open ones oldest first, or all newest first.

    To continue a list, `beyond_row_id` is its last row: those that follow it in that order.
    """
    order = "ORDER BY row_id" if pending else "ORDER BY row_id DESC"
    # Not as an alternative to NULL: SQLite would begin at the first row each time, and pass over all that were shown.
    follows = " AND row_id > ?3" if pending else " AND row_id < ?3"
    follows, beyond = ("", ()) if beyond_row_id is None else (follows, (beyond_row_id,))
    return outbox.select(
        db,
        f"{ENTRY_OPEN if pending else '1'}"  # noqa: S608
        f" AND (?1 IS NULL OR contact_id = ?1){follows}"
        f" AND (state = 'delivered' OR origin NOTNULL OR contact_id IN (SELECT id FROM contacts))"
        f" {order} LIMIT ?2",
        (contact_id, limit, *beyond),
    )


def depths(db: apsw.Connection) -> dict[str, int]:
    """Return how many entries are open for each contact that has any."""
    query = f"SELECT contact_id, count(*) FROM outbox WHERE {ENTRY_OPEN} GROUP BY contact_id"  # noqa: S608
    return dict(db.execute(query))


def depth_bytes(db: apsw.Connection, contact_id: str) -> int:
    """Return how large all open entries of a contact are together, as far as their sizes are known."""
    query = f"SELECT total(size) FROM outbox WHERE contact_id = ? AND {ENTRY_OPEN}"  # noqa: S608
    return int(db.execute(query, (contact_id,)).get)
