"""The stored rate limits: the one for everybody, and those for single contacts."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

__all__ = ["RateLimit", "get", "list_all", "put"]

_COLUMNS = "contact_id, up_bytes_s, down_bytes_s, messages_s, burst_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """One row. None means no limit; without a contact it is the limit for everybody."""

    contact_id: str | None = None
    up_bytes_s: int | None = None
    down_bytes_s: int | None = None
    messages_s: int | None = None
    burst_bytes: int | None = None


def list_all(db: apsw.Connection) -> list[RateLimit]:
    """Return every row, everybody's first."""
    query = f"SELECT {_COLUMNS} FROM rate_limits ORDER BY contact_id NULLS FIRST"  # noqa: S608
    return [_row(row) for row in db.execute(query)]


def get(db: apsw.Connection, contact_id: str | None) -> RateLimit:
    """Return the row of a contact, or everybody's; if there is none, one without limits."""
    query = f"SELECT {_COLUMNS} FROM rate_limits WHERE contact_id IS ?"  # noqa: S608
    row = db.execute(query, (contact_id,)).fetchone()
    return RateLimit(contact_id=contact_id) if row is None else _row(row)


def put(db: apsw.Connection, limit: RateLimit) -> None:
    """Replace a row."""
    db.execute(
        f"INSERT INTO rate_limits ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608
        " ON CONFLICT (ifnull(contact_id, '')) DO UPDATE SET up_bytes_s = excluded.up_bytes_s,"
        " down_bytes_s = excluded.down_bytes_s, messages_s = excluded.messages_s,"
        " burst_bytes = excluded.burst_bytes",
        (
            limit.contact_id,
            limit.up_bytes_s,
            limit.down_bytes_s,
            limit.messages_s,
            limit.burst_bytes,
        ),
    )


def _row(row: tuple[object, ...]) -> RateLimit:
    contact_id, *numbers = row
    up, down, messages, burst = (None if n is None else int(str(n)) for n in numbers)
    return RateLimit(
        contact_id=None if contact_id is None else str(contact_id),
        up_bytes_s=up,
        down_bytes_s=down,
        messages_s=messages,
        burst_bytes=burst,
    )
