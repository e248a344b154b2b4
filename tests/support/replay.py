"""The journal against the tables: replayed from its beginning, it must end in the states that they have now."""

from __future__ import annotations

from typing import Any

import apsw

from peerpost.store.db import journal

STATES = (
    "SELECT 'entry', id, state FROM outbox WHERE origin IS NULL"
    " UNION ALL SELECT 'item', id, iif(unread, 'unread', 'read') FROM inbox WHERE origin IS NULL"
    " UNION ALL SELECT iif(incoming, 'download', 'upload'), id, state FROM transfers WHERE imported = 0"
    " UNION ALL SELECT 'contact', id, CASE WHEN conflict_body IS NOT NULL AND state <> 'blocked' THEN 'changed'"
    " WHEN removed_us_ms IS NOT NULL AND state = 'active' THEN 'removed' ELSE state END FROM contacts"
    " UNION ALL SELECT 'invite', lower(hex(invite_id)),"
    " CASE WHEN used_ms IS NULL THEN 'open' WHEN why IS NULL THEN 'used' ELSE 'refused' END FROM invites"
    " UNION ALL SELECT 'limit', ifnull(contact_id, ''), 'set' FROM rate_limits"
)
"""What the tables say, in other words than the triggers."""


def states(db: apsw.Connection) -> dict[tuple[str, str], str]:
    """Return the state of each thing by its kind and id, as the tables have it."""
    rows: Any = db.execute(STATES)
    return {(kind, id_): state for kind, id_, state in rows}


def replay(db: apsw.Connection) -> dict[tuple[str, str], str]:
    """Return the same from the journal. Each change must begin where the one before it has ended."""
    now: dict[tuple[str, str], str] = {}
    for change in journal.after(db, 0):
        key = (change.kind, change.subject)
        assert now.get(key) == change.before, change
        assert change.before != change.after or change.what is not None, change
        if change.after is None:
            del now[key]
        else:
            now[key] = change.after
    return now


def check(db: apsw.Connection) -> None:
    """Fail where something has changed without its row, unless rows were deleted from the journal."""
    kept = db.execute("SELECT count(*) FROM changes").get
    if kept == journal.newest(db):
        assert replay(db) == states(db)
