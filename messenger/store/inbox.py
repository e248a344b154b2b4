"""The inbox: what came, each message once, with how far each lane has got.

A message is new or it is not by (contact, outbox id, lane, number). What comes ahead of its turn is
taken too and noted beyond the watermark, at most 4,096 numbers; what is further away is left to be
sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import apsw

from peerpost.errors import NotFoundError
from peerpost.wire import inner as wire
from peerpost.wire import limits

from . import ids
from .ballast import require_room

__all__ = [
    "Item",
    "Mark",
    "ReceivedBatch",
    "add_file",
    "find",
    "list_items",
    "mark",
    "receive_many",
    "unread_counts",
    "watermarks",
]

PREVIEW_CHARS = 80
_COLUMNS = (
    "row_id, id, contact_id, kind, gap, size, name, body, file_id, sent_ms, received_ms, unread"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row of the inbox."""

    row_id: int
    id: str
    contact_id: str
    kind: str
    """text or file."""
    gap: bool
    """The message before it was not here when it came, or is not the one that it follows."""
    size: int
    name: str | None
    body: bytes | None = field(repr=False)
    file_id: bytes | None
    sent_ms: int
    received_ms: int
    unread: bool

    @property
    def preview(self) -> str:
        """The beginning of a text, or a file's name; hostile to terminals until made safe."""
        if self.body is None:
            return self.name or ""
        beginning = self.body[: 4 * PREVIEW_CHARS].decode(errors="ignore")
        return " ".join(beginning.split())[:PREVIEW_CHARS]


@dataclass(slots=True, kw_only=True)
class Mark:
    """How far one lane of one outbox of a contact has got."""

    outbox_id: bytes
    lane: int
    watermark: int
    link: bytes
    sack: bytes = b""
    """As in a Receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBatch:
    """What came of a batch."""

    items: list[Item]
    offers: list[bytes]
    """File ids offered for the first time."""
    marks: list[Mark]
    """Of every lane that the batch touched: to be acknowledged."""
    later: int
    """Messages too far ahead to be taken."""


def _item(row: tuple[object, ...]) -> Item:
    values = dict(zip(Item.__slots__, row, strict=True))
    values["gap"], values["unread"] = bool(values["gap"]), bool(values["unread"])
    return Item(**values)  # type: ignore[arg-type]


def receive_many(
    db: apsw.Connection,
    contact_id: str,
    messages: Iterable[tuple[wire.Message, bytes]],
    now_ms: int,
) -> ReceivedBatch:
    """Take numbered messages of one contact, each with its link, in the order they came.

    Raises StoreFullError, with none of them taken, while the disk is full and one is new.
    """
    batch = ReceivedBatch(items=[], offers=[], marks=[], later=0)
    marks: dict[tuple[bytes, int], Mark] = {}
    later = 0
    for message, link in messages:
        key = (message.outbox_id, message.lane)
        mark_ = marks.get(key)
        if mark_ is None:
            mark_ = marks[key] = _load_mark(db, contact_id, *key)
        verdict = _place(db, contact_id, mark_, message, link)
        if verdict is None:
            later += 1
        elif verdict >= 0:
            require_room(db)
            _take(db, contact_id, message, verdict, now_ms, batch)
    for mark_ in marks.values():
        db.execute(
            "INSERT INTO marks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET watermark = excluded.watermark, link = excluded.link",
            (contact_id, mark_.outbox_id, mark_.lane, mark_.watermark, mark_.link),
        )
        mark_.sack = _sack(db, contact_id, mark_)
        batch.marks.append(mark_)
    return ReceivedBatch(items=batch.items, offers=batch.offers, marks=batch.marks, later=later)


def _load_mark(db: apsw.Connection, contact_id: str, outbox_id: bytes, lane: int) -> Mark:
    row = db.execute(
        "SELECT watermark, link FROM marks WHERE contact_id = ? AND outbox_id = ? AND lane = ?",
        (contact_id, outbox_id, lane),
    ).fetchone()
    watermark, link = (0, wire.FIRST_LINK) if row is None else row
    return Mark(outbox_id=outbox_id, lane=lane, watermark=watermark, link=link)


def _place(
    db: apsw.Connection, contact_id: str, mark_: Mark, message: wire.Message, link: bytes
) -> int | None:
    """Return -1 for a duplicate, None for one too far ahead, else whether a gap is before it."""
    seq = message.seq
    if seq <= mark_.watermark:
        return -1
    key = (contact_id, mark_.outbox_id, mark_.lane)
    if seq == mark_.watermark + 1:
        gap = int(message.prev != mark_.link)
        mark_.watermark, mark_.link = seq, link
        _absorb(db, key, mark_)
        return gap
    where = "contact_id = ? AND outbox_id = ? AND lane = ?"
    held = db.execute(
        f"SELECT 1 FROM beyond WHERE {where} AND seq = ?",  # noqa: S608
        (*key, seq),
    ).fetchone()
    if held is not None:
        return -1
    if seq > mark_.watermark + 1 + limits.MAX_SPARSE:
        return None
    db.execute("INSERT INTO beyond VALUES (?, ?, ?, ?, ?)", (*key, seq, link))
    return 1


def _absorb(db: apsw.Connection, key: tuple[str, bytes, int], mark_: Mark) -> None:
    """Move the watermark over what was held beyond it."""
    where = "contact_id = ? AND outbox_id = ? AND lane = ? AND seq = ?"
    while mark_.watermark < limits.MAX_SEQ:
        row = db.execute(
            f"SELECT link FROM beyond WHERE {where}",  # noqa: S608
            (*key, mark_.watermark + 1),
        ).fetchone()
        if row is None:
            return
        mark_.watermark += 1
        mark_.link = row[0]
        db.execute(f"DELETE FROM beyond WHERE {where}", (*key, mark_.watermark))  # noqa: S608


def _sack(db: apsw.Connection, contact_id: str, mark_: Mark) -> bytes:
    bits = bytearray()
    for (seq,) in db.execute(
        "SELECT seq FROM beyond WHERE contact_id = ? AND outbox_id = ? AND lane = ? ORDER BY seq",
        (contact_id, mark_.outbox_id, mark_.lane),
    ):
        at, bit = divmod(seq - mark_.watermark - 2, 8)
        if at >= limits.MAX_SACK_BYTES:
            break
        bits.extend(bytes(at + 1 - len(bits)))
        bits[at] |= 1 << bit
    return bytes(bits)


def _take(
    db: apsw.Connection,
    contact_id: str,
    message: wire.Message,
    gap: int,
    now_ms: int,
    batch: ReceivedBatch,
) -> None:
    if message.kind == wire.Kind.TEXT:
        row_id = _insert(
            db,
            contact_id=contact_id,
            kind="text",
            gap=gap,
            size=len(message.body),
            name=None,
            body=message.body,
            file_id=None,
            source=(message.outbox_id, message.lane, message.seq, message.sent_at_ms),
            now_ms=now_ms,
        )
        batch.items.append(_get(db, row_id))
    elif message.kind == wire.Kind.OFFER:
        offer = wire.decode_offer(message.body)
        db.execute(
            "INSERT OR IGNORE INTO transfers (file_id, incoming, id, contact_id, state, name,"
            " as_text, size, chunk_log2, key, outbox_id, lane, seq, sent_ms, created_ms)"
            " VALUES (?, 1, ?, ?, 'offered', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                offer.file_id,
                ids.new_id(db, "transfers"),
                contact_id,
                offer.name,
                offer.as_text,
                offer.size,
                offer.chunk_log2,
                offer.key,
                message.outbox_id,
                message.lane,
                message.seq,
                message.sent_at_ms,
                now_ms,
            ),
        )
        if db.changes():
            batch.offers.append(offer.file_id)


def _insert(
    db: apsw.Connection,
    *,
    contact_id: str,
    kind: str,
    gap: int,
    size: int,
    name: str | None,
    body: bytes | None,
    file_id: bytes | None,
    source: tuple[bytes, int, int, int],
    now_ms: int,
) -> int:
    outbox_id, lane, seq, sent_ms = source
    db.execute(
        "INSERT INTO inbox (id, contact_id, kind, outbox_id, lane, seq, gap, size, name, body,"
        " file_id, sent_ms, received_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            ids.new_id(db, "inbox"),
            contact_id,
            kind,
            outbox_id,
            lane,
            seq,
            gap,
            size,
            name,
            body,
            file_id,
            sent_ms,
            now_ms,
        ),
    )
    return db.last_insert_rowid()


def add_file(
    db: apsw.Connection,
    *,
    contact_id: str,
    file_id: bytes,
    as_text: bool,
    name: str,
    size: int,
    source: tuple[bytes, int, int, int],
    now_ms: int,
) -> Item:
    """Show a file that is whole, or the long text that it carries.

    `source` is (outbox id, lane, number, sent_ms) of its offer.
    """
    row_id = _insert(
        db,
        contact_id=contact_id,
        kind="text" if as_text else "file",
        gap=0,
        size=size,
        name=name or None,
        body=None,
        file_id=file_id,
        source=source,
        now_ms=now_ms,
    )
    return _get(db, row_id)


def _get(db: apsw.Connection, row_id: int) -> Item:
    row = db.execute(f"SELECT {_COLUMNS} FROM inbox WHERE row_id = ?", (row_id,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the message was deleted")
    return _item(row)


def watermarks(db: apsw.Connection, contact_id: str) -> list[Mark]:
    """Return how far each lane of a contact has got, the busiest last."""
    rows = db.execute(
        "SELECT outbox_id, lane, watermark, link FROM marks WHERE contact_id = ?"
        " ORDER BY watermark DESC LIMIT ?",
        (contact_id, limits.MAX_HAVE),
    )
    return [Mark(outbox_id=o, lane=lane, watermark=w, link=link) for o, lane, w, link in rows]


def find(db: apsw.Connection, prefix: str) -> Item:
    """Return the message whose id begins so. Raises NotFoundError, AmbiguousError."""
    id_ = ids.complete(db, "inbox", prefix, what="message", see="inbox list")
    row = db.execute(f"SELECT {_COLUMNS} FROM inbox WHERE id = ?", (id_,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the message was deleted")
    return _item(row)


def list_items(
    db: apsw.Connection,
    *,
    contact_id: str | None,
    unread: bool,
    limit: int,
    since_ms: int | None,
) -> list[Item]:
    """Return messages, newest first."""
    return [
        _item(row)
        for row in db.execute(
            f"SELECT {_COLUMNS} FROM inbox WHERE (?1 IS NULL OR contact_id = ?1)"  # noqa: S608
            " AND (?2 = 0 OR unread = 1) AND (?3 IS NULL OR received_ms >= ?3)"
            " ORDER BY row_id DESC LIMIT ?4",
            (contact_id, unread, since_ms, limit),
        )
    ]


def mark(db: apsw.Connection, item_ids: Iterable[str], *, unread: bool) -> None:
    """Mark messages as read or unread."""
    for id_ in item_ids:
        db.execute("UPDATE inbox SET unread = ? WHERE id = ?", (unread, id_))


def unread_counts(db: apsw.Connection) -> dict[str, int]:
    """Return how many unread messages each contact has in the inbox."""
    return dict(
        db.execute("SELECT contact_id, count(*) FROM inbox WHERE unread = 1 GROUP BY contact_id")
    )
