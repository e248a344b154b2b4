"""Which messages exceed what is kept: the oldest of those that may be deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import apsw

from peerpost.wire.limits import MAX_TIME_MS

from .quota import ROW_BYTES

__all__ = ["Scope", "beyond"]

_ROWS: Final = 1000
"""How many are named at once, to be deleted in one transaction: between two of these, others can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose messages a rule applies to, and which of them may be deleted."""

    of: str | None
    """One contact, or None for all but `besides`."""
    besides: tuple[str, ...] = ()
    unread_too: bool = False

    @property
    def where(self) -> str:
        """The SQL condition for its messages; `values` are its parameters."""
        if self.of is not None:
            return "contact_id = ?"
        return f"contact_id NOT IN ({', '.join('?' * len(self.besides))})"

    @property
    def received(self) -> str:
        """The condition for those of its messages that a rule may delete: nothing that the user has imported."""
        return f"{self.where} AND origin IS NULL"

    @property
    def values(self) -> tuple[str, ...]:
        """The parameters of the condition."""
        return self.besides if self.of is None else (self.of,)

    @property
    def oldest(self) -> str:
        """The query for rows that may be deleted: (id, size, size of a text), oldest first, up to a limit."""
        # This index leaves out unread messages, of which there may be many; the query runs often.
        source = "inbox" if self.unread_too else "inbox INDEXED BY inbox_read"
        unread = "" if self.unread_too else " AND unread = 0"
        return (
            f"SELECT id, size, iif(file_id IS NULL, size, 0) FROM {source}"  # noqa: S608
            f" WHERE received_ms < ? AND {self.received}{unread} ORDER BY received_ms, row_id LIMIT ?"
        )


def beyond(
    db: apsw.Connection,
    scope: Scope,
    *,
    before_ms: int | None,
    size_bytes: int | None,
    count: int | None,
) -> list[tuple[str, int]]:
    """Return some messages that are too old, or too much together with later ones, in the form for `delete_some`.

    Messages that may not be deleted count too. Sizes are those that quotas count: each message with its row.
    """
    if before_ms is not None and (chosen := _oldest(db, scope, _ROWS, before_ms)):
        return [(id_, text) for id_, _, text in chosen]
    if count is not None:
        query = f"SELECT count(*) FROM inbox WHERE {scope.received}"  # noqa: S608
        too_many: int = db.execute(query, scope.values).get - count
        if too_many > 0 and (chosen := _oldest(db, scope, min(too_many, _ROWS))):
            return [(id_, text) for id_, _, text in chosen]
    if size_bytes is not None:
        query = f"SELECT coalesce(sum(bytes), 0) FROM usage WHERE {scope.where}"  # noqa: S608
        return _first_of(db, scope, db.execute(query, scope.values).get - size_bytes)
    return []


def _first_of(db: apsw.Connection, scope: Scope, too_much_bytes: int) -> list[tuple[str, int]]:
    chosen = []
    for id_, size, text in _oldest(db, scope, _ROWS if too_much_bytes > 0 else 0):
        if too_much_bytes <= 0:
            break
        chosen.append((id_, text))
        too_much_bytes -= size + ROW_BYTES
    return chosen


def _oldest(
    db: apsw.Connection, scope: Scope, limit: int, before_ms: int = MAX_TIME_MS
) -> list[tuple[str, int, int]]:
    rows: Any = db.execute(scope.oldest, (before_ms, *scope.values, limit))
    return list(rows)
