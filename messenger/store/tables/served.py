"""Whom the store writes for: checked within each transaction that adds rows for a contact.

A transaction may run after one that removed or blocked its contact. The rows that it adds would then belong to nobody,
and nothing would ever delete them. So every function that adds such rows checks here first.
"""

from __future__ import annotations

import apsw

from peerpost.errors import NotFoundError, UntrustedError

__all__ = ["require_known", "require_served"]


def require_known(db: apsw.Connection, contact_id: str) -> None:
    """Raise NotFoundError if a contact was removed."""
    if db.execute("SELECT 1 FROM contacts WHERE id = ?", (contact_id,)).fetchone() is None:
        raise NotFoundError("the contact was removed")


def require_served(db: apsw.Connection, contact_id: str) -> None:
    """Raise NotFoundError if a contact was removed, UntrustedError if nothing is taken from it any more."""
    row = db.execute(
        "SELECT state = 'blocked' OR conflict_body IS NOT NULL FROM contacts WHERE id = ?",
        (contact_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError("the contact was removed")
    if row[0]:
        raise UntrustedError("the contact is blocked, or is to be verified")
