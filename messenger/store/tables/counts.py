"""How many messages went to a contact and came from it."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

__all__ = ["MessageCounts", "count", "since"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCounts:
    """How many messages went each way."""

    sent: int
    received: int


def count(db: apsw.Connection, id_: str) -> MessageCounts:
    """Return how many messages were delivered to a contact, and how many came from it."""
    sent = db.execute(
        "SELECT count(*) FROM outbox WHERE contact_id = ? AND state = 'delivered'", (id_,)
    ).get
    received = db.execute(
        "SELECT (SELECT count(*) FROM inbox WHERE contact_id = ?1)"
        " + (SELECT count(*) FROM deleted WHERE contact_id = ?1)",
        (id_,),
    ).get
    return MessageCounts(sent=sent, received=received)


def since(db: apsw.Connection, id_: str, at_ms: int) -> MessageCounts:
    """Return how many messages went each way from a moment on."""
    sent = db.execute(
        "SELECT count(*) FROM outbox WHERE contact_id = ? AND state = 'delivered'"
        " AND delivered_ms >= ? AND origin IS NULL",
        (id_, at_ms),
    ).get
    received = db.execute(
        "SELECT count(*) FROM inbox WHERE contact_id = ? AND received_ms >= ? AND origin IS NULL",
        (id_, at_ms),
    ).get
    return MessageCounts(sent=sent, received=received)
