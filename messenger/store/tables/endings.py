"""How a file that we send ends: its entry in the outbox and its transfer end together, in one transaction.

If an entry were cancelled while its transfer stayed open, the file would still arrive, although its sender reads that
it is `cancelled`. Whatever ends an entry undelivered goes through `outbox.entomb`, which ends the transfer with it.
This module is for the case that the transfer ends first.
"""

from __future__ import annotations

import apsw

from peerpost.wire.inner import Finish

from . import outbox, transfers
from .outbox import Entry
from .states import ENTRY_NEXT, TRANSFER_OPEN

__all__ = ["delivered", "ended", "reconcile", "source_ended"]


def delivered(db: apsw.Connection, contact_id: str, file_id: bytes, now_ms: int) -> Entry | None:
    """Record that the peer has a whole file; return its entry if that is new."""
    entry = outbox.open_file(db, contact_id, file_id)
    if entry is None:
        return None
    transfers.end_outgoing(db, contact_id, file_id, "done", None, peer_knows=True)
    return outbox.file_delivered(db, entry, now_ms)


def ended(
    db: apsw.Connection,
    contact_id: str,
    file_id: bytes,
    state: str,
    error: str,
    *,
    transfer: tuple[str, str] | None = None,
    peer_knows: bool = False,
) -> Entry | None:
    """End a file undelivered (refused, cancelled); return its entry if that is new.

    `transfer` is the state and the cause of the transfer, if they differ: a transfer may be `failed`, which is no state
    of a message. A peer that does not know of the end is told in its next session.
    """
    end = transfer or ("cancelled", error)
    transfers.end_outgoing(db, contact_id, file_id, *end, peer_knows=peer_knows)
    entry = outbox.open_file(db, contact_id, file_id)
    return None if entry is None else outbox.entomb(db, entry, state, error)


def source_ended(db: apsw.Connection, transfer_id: str, end: Finish, content_id: bytes) -> None:
    """Note that the source of a stream has ended: its size is now known, and goes into the transfer and the entry."""
    row = transfers.stream_ended(db, transfer_id, end, content_id)
    outbox.set_size(db, row.contact_id, row.file_id, end.size)


def reconcile(db: apsw.Connection) -> int:
    """End files that an earlier version ended only partly; return how many there were."""
    count = 0
    for row in transfers.select(db, f"incoming = 0 AND {TRANSFER_OPEN}"):
        said = db.execute(
            "SELECT state, last_error FROM outbox WHERE contact_id = ? AND file_id = ?",
            (row.contact_id, row.file_id),
        ).fetchone()
        state, error = said or ("cancelled", None)
        if ENTRY_NEXT[state]:
            continue
        now = ("done", None) if state == "delivered" else ("cancelled", str(error or outbox.TAKEN))
        transfers.end_outgoing(
            db, row.contact_id, row.file_id, *now, peer_knows=state == "delivered"
        )
        count += 1
    for entry in outbox.open_files(db):
        found = transfers.get(db, entry.contact_id, entry.file_id or b"", incoming=False)
        if found is not None and found.state in transfers.OPEN_STATES:
            continue
        if found is not None and found.state == "done":
            outbox.file_delivered(db, entry, entry.created_ms)
        else:
            why = None if found is None else found.error
            outbox.entomb(db, entry, "refused", why or "what was to be sent is not here any more")
        count += 1
    return count
