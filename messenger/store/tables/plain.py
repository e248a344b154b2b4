"""Received files that are to be written plain to a folder of the user: which are due, their names, which are done.

That a file is due is recorded with the message itself. The name is recorded before the file gets it, so that after a
power cut in between the file is recognised, and not written a second time under another name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw

from peerpost.wire.inner import Finish

from . import inbox, transfers

__all__ = ["Due", "arrive", "begin", "done", "due", "finished", "forget", "get"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A file that is still to be written plain, or that was written without the store knowing."""

    inbox_id: str
    path: str | None
    """The path recorded for it after all of it was written; None before that."""
    digest: bytes | None
    """BLAKE2b-256 of what was written."""


def arrive(
    db: apsw.Connection, transfer: transfers.Transfer, end: Finish, now_ms: int, *, plainly: bool
) -> inbox.Item | None:
    """Show a whole file in the inbox, as `inbox.complete_incoming` does; with `plainly` it is due."""
    item = inbox.complete_incoming(db, transfer.id, end, transfer.shown_name, now_ms)
    if plainly and item is not None and item.kind == "file":
        db.execute("INSERT INTO plain (inbox_id) VALUES (?)", (item.id,))
    return item


def due(db: apsw.Connection) -> list[Due]:
    """Return what is due."""
    rows: Any = db.execute("SELECT inbox_id, path, digest FROM plain WHERE done = 0")
    return [Due(inbox_id=inbox_id, path=path, digest=digest) for inbox_id, path, digest in rows]


def begin(db: apsw.Connection, inbox_id: str, path: str, digest: bytes) -> None:
    """Record the name that a file will get."""
    db.execute("UPDATE plain SET path = ?, digest = ? WHERE inbox_id = ?", (path, digest, inbox_id))


def done(db: apsw.Connection, inbox_id: str) -> bool:
    """Record that a file is durable under its name; return False if its message was deleted meanwhile."""
    db.execute("UPDATE plain SET done = 1 WHERE inbox_id = ?", (inbox_id,))
    return db.changes() > 0


def forget(db: apsw.Connection, inbox_id: str) -> None:
    """Leave a file sealed: it is not due any more."""
    db.execute("DELETE FROM plain WHERE inbox_id = ? AND done = 0", (inbox_id,))


def get(db: apsw.Connection, inbox_id: str) -> tuple[str, bytes] | None:
    """Return where a file lies plain, and its BLAKE2b-256; None if it does not."""
    query = "SELECT path, digest FROM plain WHERE inbox_id = ? AND done = 1"
    row: Any = db.execute(query, (inbox_id,)).fetchone()
    return None if row is None else (str(row[0]), bytes(row[1]))


def finished(db: apsw.Connection) -> list[str]:
    """Return the ids of the transfers whose files lie plain."""
    rows: Any = db.execute(
        "SELECT transfers.id FROM plain JOIN inbox ON inbox.id = inbox_id JOIN transfers"
        " ON transfers.contact_id = inbox.contact_id AND transfers.file_id = inbox.file_id"
        " AND incoming = 1 WHERE done = 1"
    )
    return [str(id_) for (id_,) in rows]
