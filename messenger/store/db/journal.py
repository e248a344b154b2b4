"""The journal: one row of `changes` for each transition that the store records, in the transaction that makes it.

Triggers of the schema write the rows. The number of a row is a cursor: numbers only rise, and none is used twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import apsw

__all__ = ["KEPT_MS", "KEPT_ROWS", "Transition", "after", "forget", "newest", "prune"]

KEPT_ROWS: Final = 100_000
"""How many rows are kept: about 8 MB, and a day of a text each second, for whoever reads them late."""
KEPT_MS: Final = 30 * 86_400_000
"""How long rows are kept: they say who exchanged something with whom and when, which nobody needs for ever."""
SPARE_ROWS: Final = 1024
"""How many more there may be before any are deleted: one statement for many costs less than one for each commit."""
PRUNED_ROWS: Final = 8192
"""How many are deleted at once, in some ten milliseconds: as many as the largest commits add until the next time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One transition."""

    id: int
    at_ms: int
    kind: str
    """entry (of the outbox), item (of the inbox), upload, download, contact, invite or limit."""
    subject: str
    """The id that the command line shows. For a limit it is the contact's id, and empty for the limit for everybody."""
    contact_id: str | None
    before: str | None
    """Its state before; None if it is new."""
    after: str | None
    """Its state now; None if it was deleted."""
    what: str | None
    """What has changed besides the state; never None if the state is the same."""


def newest(db: apsw.Connection) -> int:
    """Return the number of the newest row; 0 if there is none."""
    number: int = db.execute("SELECT coalesce(max(id), 0) FROM changes").get
    return number


def after(db: apsw.Connection, cursor: int, limit: int = -1) -> list[Transition]:
    """Return the changes after a cursor, oldest first, at most `limit` unless it is negative."""
    rows: Any = db.execute(
        "SELECT id, at_ms, kind, subject, contact_id, before, after, what FROM changes"
        " WHERE id > ? ORDER BY id LIMIT ?",
        (cursor, limit),
    )
    return [
        Transition(
            id=id_,
            at_ms=at_ms,
            kind=kind,
            subject=subject,
            contact_id=contact_id,
            before=before,
            after=now,
            what=what,
        )
        for id_, at_ms, kind, subject, contact_id, before, now, what in rows
    ]


def prune(db: apsw.Connection, now_ms: int) -> None:
    """Delete some of the rows that need not be kept any longer, in a transaction that has begun already."""
    oldest: Any = db.execute(
        "SELECT id, at_ms, (SELECT max(id) FROM changes) FROM changes ORDER BY id LIMIT 1"
    ).fetchone()
    if oldest is None:
        return
    first, at_ms, last = oldest
    if last - first >= KEPT_ROWS + SPARE_ROWS or at_ms < now_ms - KEPT_MS:
        db.execute(
            "DELETE FROM changes WHERE id < ?1 AND (id <= ?2 OR at_ms < ?3)",
            (first + PRUNED_ROWS, last - KEPT_ROWS, now_ms - KEPT_MS),
        )


def forget(db: apsw.Connection, contact_id: str) -> None:
    """Forget what was exchanged with a contact, and when: the user wants its history gone."""
    db.execute("DELETE FROM changes WHERE contact_id = ?", (contact_id,))
