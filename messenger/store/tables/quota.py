"""What a contact may take up in this home: bytes on the disk and rows of the store.

The counters are kept by triggers of the schema, so that asking costs one look-up, whatever a contact has sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import apsw

from peerpost.errors import QuotaError
from peerpost.wire import limits

from .states import TRANSFER_OPEN

__all__ = [
    "DEFAULT_BYTES",
    "MAX_ROWS",
    "ROW_BYTES",
    "Usage",
    "all_used_up",
    "room",
    "usage",
    "used_up",
]

DEFAULT_BYTES: Final = 20 << 30
"""The default quota of a contact: an honest one does not come near it."""
ROW_BYTES: Final = 256
"""What a row counts in addition to its content; the triggers use the same value."""
MAX_ROWS: Final = 1_000_000
"""The most messages and offers of one contact. With 64 KiB each, they would be three times the bytes above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one contact takes up here."""

    bytes: int
    """Texts, files, and what files that are being received will take."""
    rows: int
    quota_bytes: int | None
    """What the user set for this contact alone."""


def usage(db: apsw.Connection, contact_id: str, *, besides: bytes | None = None) -> Usage:
    """Return what a contact takes up, without the incoming file whose id is `besides`."""
    kept = db.execute(
        "SELECT bytes, rows FROM usage WHERE contact_id = ?", (contact_id,)
    ).fetchone()
    coming = db.execute(
        "SELECT sum(CASE WHEN state IN ('active', 'paused')"  # noqa: S608
        " THEN max(coalesce(finish_size, size, progress_bytes), progress_bytes)"
        " ELSE progress_bytes END) FROM transfers WHERE contact_id = ? AND incoming = 1"
        f" AND {TRANSFER_OPEN} AND file_id IS NOT ?",
        (contact_id, besides),
    ).get
    quota = db.execute("SELECT quota_bytes FROM contacts WHERE id = ?", (contact_id,)).get
    bytes_, rows = kept or (0, 0)
    return Usage(bytes=bytes_ + (coming or 0), rows=rows, quota_bytes=quota)


def room(
    db: apsw.Connection, contact_id: str, default_bytes: int, *, besides: bytes | None = None
) -> int:
    """Return how many bytes a contact may still send; 0 if it has used up its bytes or rows.

    `default_bytes` holds unless the user set a quota for this contact. A file counts with its whole size from the
    moment it is accepted: call this before, or leave the file out as `besides`.
    """
    now = usage(db, contact_id, besides=besides)
    if now.rows >= MAX_ROWS:
        return 0
    limit = default_bytes if now.quota_bytes is None else now.quota_bytes
    return max(0, limit - now.bytes)


def all_used_up(db: apsw.Connection, default_bytes: int) -> list[str]:
    """Return the contacts whose quota has no room even for the longest short text."""
    rows = db.execute(
        "SELECT id FROM contacts LEFT JOIN usage ON usage.contact_id = contacts.id"
        " WHERE coalesce(bytes, 0) + ? > coalesce(quota_bytes, ?) OR rows >= ?",
        (limits.MAX_INNER_BYTES, default_bytes, MAX_ROWS),
    )
    return [str(contact_id) for (contact_id,) in rows]


def used_up() -> QuotaError:
    """Return the error for something that does not fit into the quota of a contact."""
    return QuotaError(
        "your quota here is used up",
        hint="make room: peerpost inbox delete --older-than AGE --contact NAME;"
        " or let it take up more: peerpost contacts edit NAME --quota SIZE",
    )
