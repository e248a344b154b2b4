"""What is forgotten of a contact that was removed, where the user wants its history gone too.

Numbers, links and which files have come stay: without them the contact, met again, would take what is new for what it
has, and send again what was deleted. They say nothing of what was written.
"""

from __future__ import annotations

from typing import Final

import apsw

from peerpost.errors import ExistsError

from .transfers import FORGOTTEN

__all__ = ["forget"]

_NOTHING: Final = (
    "state = 'cancelled', name = NULL, size = NULL, file_id = NULL, delivered_ms = NULL,"
    " last_error = NULL"
)


def forget(db: apsw.Connection, contact_id: str) -> None:
    """Forget what was sent to a contact, the names of files that it sent, and its own; its messages are deleted before.

    Raises ExistsError where it is a contact again.
    """
    again = db.execute("SELECT name FROM contacts WHERE id = ?", (contact_id,)).get
    if again is not None:
        raise ExistsError(f"{again} is a contact again", hint="remove it once more")
    db.execute("DELETE FROM outbox WHERE contact_id = ? AND settled = 1", (contact_id,))
    # Of these the contact may not have the number: they are tombstones since it was removed.
    db.execute(f"UPDATE outbox SET {_NOTHING} WHERE contact_id = ?", (contact_id,))  # noqa: S608
    db.execute(
        "UPDATE transfers SET name = '', error = ? WHERE contact_id = ?", (FORGOTTEN, contact_id)
    )
    db.execute("DELETE FROM former_contacts WHERE id = ?", (contact_id,))
