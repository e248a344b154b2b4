"""The last number that each lane of an outbox id has given, with its link."""

from __future__ import annotations

from typing import Any

import apsw

__all__ = ["given", "last", "put"]


def last(
    db: apsw.Connection, contact_id: str, outbox_id: bytes, lane: int
) -> tuple[int, bytes] | None:
    """Return the last number of a lane and its link, or None if it has given no number yet."""
    row: Any = db.execute(
        "SELECT last_seq, link FROM chains WHERE contact_id = ? AND outbox_id = ? AND lane = ?",
        (contact_id, outbox_id, lane),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def given(db: apsw.Connection, contact_id: str) -> list[tuple[bytes, int]]:
    """Return the lanes on which messages to this contact were ever numbered: (outbox id, lane) each."""
    query = "SELECT outbox_id, lane FROM chains WHERE contact_id = ?"
    rows: list[Any] = db.execute(query, (contact_id,)).fetchall()
    return rows


def put(
    db: apsw.Connection, contact_id: str, outbox_id: bytes, lane: int, seq: int, link: bytes
) -> None:
    """Note what is now the last number of a lane, and its link."""
    db.execute(
        "INSERT INTO chains VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET last_seq = excluded.last_seq, link = excluded.link",
        (contact_id, outbox_id, lane, seq, link),
    )
