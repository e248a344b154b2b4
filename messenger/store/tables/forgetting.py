"""Forgets the history with a contact that was removed, if the user wants that.

The numbers, the links and the ids of received files stay; they reveal nothing of what was written. Without them, a
contact that is added again would take our new messages for ones that it has, and could send again what was deleted.
"""

from __future__ import annotations

import apsw

from peerpost.errors import ExistsError
from peerpost.store.db import journal

from . import former, outbox, transfers

__all__ = ["forget"]


def forget(db: apsw.Connection, contact_id: str, *, begun: bool = False) -> bool:
    """Forget what was sent to a contact, the names of files that it sent, and its own name.

    Delete the messages from it first. Return whether there is more than one transaction may forget: call it again then,
    with `begun`. Raises ExistsError if it is a contact again.
    """
    again = db.execute("SELECT name FROM contacts WHERE id = ?", (contact_id,)).get
    if again is not None:
        raise ExistsError(f"{again} is a contact again", hint="remove it once more")
    # First, because each deletion below leaves a row of its own in the journal, and these must stay.
    if not begun:
        journal.forget(db, contact_id)
    if outbox.forget(db, contact_id):
        return True
    transfers.forget_names(db, contact_id)
    former.forget(db, contact_id)
    return False
