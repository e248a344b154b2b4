"""What is forgotten of a contact that was removed, where the user wants its history gone too.

Numbers, links and which files have come stay: without them the contact, met again, would take what is new for what it
has, and send again what was deleted. They say nothing of what was written.
"""

from __future__ import annotations

import apsw

from peerpost.errors import ExistsError
from peerpost.store.db import journal

from . import former, outbox, transfers

__all__ = ["forget"]


def forget(db: apsw.Connection, contact_id: str) -> None:
    """Forget what was sent to a contact, the names of files that it sent, and its own; its messages are deleted before.

    Raises ExistsError where it is a contact again.
    """
    again = db.execute("SELECT name FROM contacts WHERE id = ?", (contact_id,)).get
    if again is not None:
        raise ExistsError(f"{again} is a contact again", hint="remove it once more")
    # What is forgotten now is journalled after that.
    journal.forget(db, contact_id)
    outbox.forget(db, contact_id)
    transfers.forget_names(db, contact_id)
    former.forget(db, contact_id)
