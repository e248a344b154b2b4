"""What the journal of a store says of a change, and a store that has a row in each table with transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from peerpost.store.db import journal
from peerpost.store.db.journal import Transition
from peerpost.store.tables import inbox, invites, limits, outbox
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, add_upload, chain, offer

__all__ = ["FILE", "Row", "fill", "rows", "send_file", "told"]

FILE = bytes([7]) * 16
Row = tuple[str, str | None, str | None, str | None]
"""Kind, state before and after, and what else has changed."""


def rows(rig: Rig, after: int = 0) -> list[Transition]:
    """Return the rows of the journal behind a number."""
    return rig.read(journal.after, after)


def told(rig: Rig, work: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Row]:
    """Do something in a transaction of its own; return what the journal says of it."""
    before = rig.read(journal.newest)
    rig.write(work, *args, **kwargs)
    return [(one.kind, one.before, one.after, one.what) for one in rows(rig, before)]


def send_file(db: apsw.Connection, contact_id: str) -> None:
    """Queue a file: its transfer and its entry in the outbox."""
    add_upload(db, contact_id, FILE)
    outbox.enqueue(
        db, contact_id=contact_id, lane=1, message_kind=wire.Kind.OFFER, body=offer(FILE),
        kind="file", size=1000, now_ms=NOW_MS, name="report.pdf", file_id=FILE,
    )  # fmt: skip


def fill(rig: Rig) -> None:
    """Put a row into each table that has transitions."""
    bob = rig.make_contact("bob").id
    rig.write(send_file, bob)
    rig.write(inbox.receive_many, bob, chain(1), NOW_MS)
    rig.write(invites.create, bytes(range(8)), bytes(16), "carol", NOW_MS // 1000 + 60, NOW_MS)
    rig.write(limits.put, limits.RateLimit(contact_id=bob, up_bytes_s=1))
