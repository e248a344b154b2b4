"""History as it is exported: all that lists show, with the numbers by which another home knows it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import apsw

from peerpost.bundle.record import Card, Record, with_body
from peerpost.errors import NotFoundError

from . import former, ids
from .numbered import text_of

__all__ = ["Direction", "Exported", "cards", "find", "page"]

Direction = Literal["received", "sent"]

PAGE_BYTES: Final = 1 << 20
"""How many bytes of texts one page has, at most, but one message in any case."""
_RECEIVED: Final = (
    "SELECT row_id, id, contact_id, iif(foreign_kind IS NULL, kind, 'unknown'),"
    " coalesce(origin, outbox_id), lane, seq, gap, size, name, body, file_id, sent_ms, received_ms,"
    " unread, files, foreign_kind,"
    " (SELECT mode FROM transfers WHERE contact_id = inbox.contact_id AND file_id = inbox.file_id AND incoming = 1),"
    " (SELECT mtime_s FROM transfers WHERE contact_id = inbox.contact_id AND file_id = inbox.file_id AND incoming = 1)"
    " FROM inbox WHERE (?1 IS NULL OR contact_id = ?1) AND (?2 IS NULL OR received_ms >= ?2)"
)
_SENT: Final = (
    "SELECT row_id, id, contact_id, kind, coalesce(origin, outbox_id), lane, seq, size, name, inner,"
    " created_ms, delivered_ms, state, expires_ms, last_error FROM outbox"
    " WHERE (?1 IS NULL OR contact_id = ?1) AND (?2 IS NULL OR created_ms >= ?2)"
    " AND (state = 'delivered' OR origin NOTNULL OR contact_id IN (SELECT id FROM contacts))"
)
_SELECT: Final[dict[Direction, str]] = {"received": _RECEIVED, "sent": _SENT}
_TABLE: Final[dict[Direction, str]] = {"received": "inbox", "sent": "outbox"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A message to be exported."""

    row_id: int
    record: Record
    """Without the hash of its file."""
    has_file: bool
    """Whether its bytes are a file of the home."""


def page(
    db: apsw.Connection,
    direction: Direction,
    *,
    contact_id: str | None,
    since_ms: int | None,
    limit: int,
    beyond: int | None,
    oldest: bool,
) -> list[Exported]:
    """Return the next messages of a direction, newest or `oldest` first: fewer than `limit` if they are long.

    An empty page is the end; to go on, say beyond which row.
    """
    # Not as an alternative to NULL: SQLite would begin at the first row each time, and pass over all that were shown.
    follows, order = (
        (" AND row_id > ?3", "row_id") if oldest else (" AND row_id < ?3", "row_id DESC")
    )
    follows = "" if beyond is None else follows
    rows: Any = db.execute(
        f"{_SELECT[direction]}{follows} ORDER BY {order} LIMIT ?4",
        (contact_id, since_ms, beyond, limit),
    )
    found: list[Exported] = []
    size_bytes = 0
    for row in rows:
        found.append(_exported(direction, row))
        size_bytes += len(row[10 if direction == "received" else 9] or b"")
        if size_bytes >= PAGE_BYTES:
            break
    return found


def find(db: apsw.Connection, prefix: str) -> Exported:
    """Return the message whose id begins so, received or sent. Raises NotFoundError, AmbiguousError."""
    for direction in ("received", "sent"):
        try:
            id_ = ids.complete(
                db, _TABLE[direction], prefix, what="message", see="inbox list, or sent list"
            )
        except NotFoundError:
            if direction == "sent":
                raise
            continue
        row: Any = db.execute(f"{_SELECT[direction]} AND id = ?3", (None, None, id_)).fetchone()
        if row is not None:
            return _exported(direction, row)
    raise NotFoundError("the message was deleted")


def cards(db: apsw.Connection, contact_ids: Sequence[str]) -> list[Card]:
    """Return a card for each contact, present or former; of one that is not known any more its id alone."""
    found: list[Card] = []
    for id_ in contact_ids:
        row: Any = db.execute(
            "SELECT name, id_public FROM contacts WHERE id = ?", (id_,)
        ).fetchone() or former.card(db, id_)
        name, identity = row or (id_, None)
        found.append(Card(id=id_, name=name, identity=None if identity is None else identity.hex()))
    return found


def _exported(direction: Direction, row: Sequence[Any]) -> Exported:
    return _received(*row) if direction == "received" else _sent(*row)


def _received(
    row_id: int,
    id_: str,
    contact_id: str,
    kind: Any,
    outbox_id: bytes,
    lane: int,
    seq: int,
    gap: int,
    size: int,
    name: str | None,
    body: bytes | None,
    file_id: bytes | None,
    sent_ms: int,
    received_ms: int,
    unread: int,
    files: int | None,
    foreign_kind: int | None,
    mode: int | None,
    mtime_s: int | None,
) -> Exported:
    record = Record(
        id=id_,
        direction="received",
        contact=contact_id,
        kind=kind,
        outbox=outbox_id.hex(),
        lane=lane,
        seq=seq,
        sent_ms=sent_ms,
        at_ms=received_ms,
        size=size,
        name=name,
        unread=bool(unread),
        gap=bool(gap),
        files=files,
        mode=mode,
        mtime_s=mtime_s,
        foreign_kind=foreign_kind,
    )
    return Exported(row_id=row_id, record=with_body(record, body), has_file=file_id is not None)


def _sent(
    row_id: int,
    id_: str,
    contact_id: str,
    kind: Any,
    outbox_id: bytes,
    lane: int,
    seq: int,
    size: int | None,
    name: str | None,
    inner: bytes,
    created_ms: int,
    delivered_ms: int | None,
    state: Any,
    expires_ms: int | None,
    last_error: str | None,
) -> Exported:
    record = Record(
        id=id_,
        direction="sent",
        contact=contact_id,
        kind=kind,
        outbox=outbox_id.hex(),
        lane=lane,
        seq=seq,
        sent_ms=created_ms,
        at_ms=delivered_ms,
        size=size,
        name=name,
        state=state,
        expires_ms=expires_ms,
        error=None if last_error is None else last_error[:1000],
    )
    # The bytes of a file that was sent are not here any more.
    return Exported(row_id=row_id, record=with_body(record, text_of(inner)), has_file=False)
