"""Whether a node that leaves now would leave something undone."""

from __future__ import annotations

import apsw

from peerpost.store.tables import contacts, invites, outbox

__all__ = ["any_open"]


def any_open(db: apsw.Connection, now_ms: int) -> bool:
    """Return whether the store has work left. A ticket counts on either side: both nodes must run at the same time."""
    return outbox.any_open(db) or invites.any_open(db, now_ms) or contacts.any_joining(db, now_ms)
