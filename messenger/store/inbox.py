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
from .rows import insert_rows

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
    "row_id, id, contact_id, kind, gap, size, name, body, file_id, sent_ms, received_ms, unread,"
    " files"
)
_INSERTED = (
    "id, contact_id, kind, outbox_id, lane, seq, gap, size, name, body, file_id, sent_ms,"
    " received_ms, files"
)
_KEY = "contact_id = ? AND outbox_id = ? AND lane = ?"


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
    files: int | None
    """Of a folder: how many files are in it, as its sender says; None for what is no folder."""

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
    marks: dict[tuple[bytes, int], _Lane] = {}
    texts: list[tuple[wire.Message, bool]] = []
    offers: list[bytes] = []
    later = 0
    for message, link in messages:
        key = (message.outbox_id, message.lane)
        lane = marks.get(key)
        if lane is None:
            lane = marks[key] = _Lane(db, contact_id, *key)
        verdict = lane.place(message, link)
        if verdict is None:
            later += 1
        elif verdict >= 0:
            require_room(db)
            if message.kind == wire.Kind.TEXT:
                texts.append((message, bool(verdict)))
            elif message.kind == wire.Kind.OFFER and _offer(db, contact_id, message, now_ms):
                offers.append(wire.decode_offer(message.body).file_id)
    items = _add_texts(db, contact_id, texts, now_ms)
    reached = [lane.store() for lane in marks.values()]
    return ReceivedBatch(items=items, offers=offers, marks=reached, later=later)


class _Lane:
    """How far one lane has got, in memory while a batch is taken."""

    def __init__(self, db: apsw.Connection, contact_id: str, outbox_id: bytes, lane: int) -> None:
        self._db = db
        self._key = (contact_id, outbox_id, lane)
        row = db.execute(f"SELECT watermark, link FROM marks WHERE {_KEY}", self._key).fetchone()  # noqa: S608
        watermark, link = (0, wire.FIRST_LINK) if row is None else row
        self._mark = Mark(outbox_id=outbox_id, lane=lane, watermark=watermark, link=link)
        self._beyond: dict[int, bytes] = dict(
            db.execute(f"SELECT seq, link FROM beyond WHERE {_KEY}", self._key)  # noqa: S608
        )
        self._stored = frozenset(self._beyond)

    def place(self, message: wire.Message, link: bytes) -> int | None:
        """Return -1 for a duplicate, None for one too far ahead, else whether a gap is before it."""
        seq, mark_ = message.seq, self._mark
        if seq <= mark_.watermark or seq in self._beyond:
            return -1
        if seq == mark_.watermark + 1:
            gap = int(message.prev != mark_.link)
            mark_.watermark, mark_.link = seq, link
            self._absorb()
            return gap
        if seq > mark_.watermark + 1 + limits.MAX_SPARSE:
            return None
        self._beyond[seq] = link
        return 1

    def _absorb(self) -> None:
        """Move the watermark over what was held beyond it."""
        mark_ = self._mark
        while (link := self._beyond.pop(mark_.watermark + 1, None)) is not None:
            mark_.watermark += 1
            mark_.link = link

    def store(self) -> Mark:
        """Write how far it has got, and return it."""
        mark_ = self._mark
        self._db.execute(
            "INSERT INTO marks (contact_id, outbox_id, lane, watermark, link)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET watermark = excluded.watermark, link = excluded.link",
            (*self._key, mark_.watermark, mark_.link),
        )
        for seq in self._stored - self._beyond.keys():
            self._db.execute(f"DELETE FROM beyond WHERE {_KEY} AND seq = ?", (*self._key, seq))  # noqa: S608
        for seq in self._beyond.keys() - self._stored:
            self._db.execute(
                "INSERT INTO beyond VALUES (?, ?, ?, ?, ?)", (*self._key, seq, self._beyond[seq])
            )
        mark_.sack = self._sack()
        return mark_

    def _sack(self) -> bytes:
        bits = bytearray()
        for seq in sorted(self._beyond):
            at, bit = divmod(seq - self._mark.watermark - 2, 8)
            if at >= limits.MAX_SACK_BYTES:
                break
            bits.extend(bytes(at + 1 - len(bits)))
            bits[at] |= 1 << bit
        return bytes(bits)


def _offer(db: apsw.Connection, contact_id: str, message: wire.Message, now_ms: int) -> bool:
    """Note a file that is offered; False where it was offered before."""
    offer = wire.decode_offer(message.body)
    files = None if offer.as_text else wire.files_in(offer)
    db.execute(
        "INSERT OR IGNORE INTO transfers (file_id, incoming, id, contact_id, state, name,"
        " as_text, size, chunk_log2, key, outbox_id, lane, seq, sent_ms, created_ms, files)"
        " VALUES (?, 1, ?, ?, 'offered', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            offer.file_id,
            ids.new_id(db, "transfers"),
            contact_id,
            offer.name if files is None else offer.name.removesuffix(".tar"),
            offer.as_text,
            offer.size,
            offer.chunk_log2,
            offer.key,
            message.outbox_id,
            message.lane,
            message.seq,
            message.sent_at_ms,
            now_ms,
            files,
        ),
    )
    return db.changes() > 0


def _add_texts(
    db: apsw.Connection, contact_id: str, texts: list[tuple[wire.Message, bool]], now_ms: int
) -> list[Item]:
    """Show texts, each with whether a gap is before it."""
    if not texts:
        return []
    rows = [
        (
            id_,
            contact_id,
            "text",
            message.outbox_id,
            message.lane,
            message.seq,
            gap,
            len(message.body),
            None,
            message.body,
            None,
            message.sent_at_ms,
            now_ms,
            None,
        )
        for (message, gap), id_ in zip(texts, ids.new_ids(db, "inbox", len(texts)), strict=True)
    ]
    first = insert_rows(db, "inbox", _INSERTED, rows)
    return [
        Item(
            row_id=first + at,
            id=row[0],
            contact_id=contact_id,
            kind="text",
            gap=row[6],
            size=row[7],
            name=None,
            body=row[9],
            file_id=None,
            sent_ms=row[11],
            received_ms=now_ms,
            unread=True,
            files=None,
        )
        for at, row in enumerate(rows)
    ]


def add_file(
    db: apsw.Connection,
    *,
    contact_id: str,
    file_id: bytes,
    as_text: bool,
    name: str,
    size: int,
    files: int | None,
    source: tuple[bytes, int, int, int],
    now_ms: int,
) -> Item:
    """Show a file that is whole, or the long text that it carries.

    `source` is (outbox id, lane, number, sent_ms) of its offer.
    """
    outbox_id, lane, seq, sent_ms = source
    row = (
        ids.new_id(db, "inbox"),
        contact_id,
        "text" if as_text else "file",
        outbox_id,
        lane,
        seq,
        0,
        size,
        name or None,
        None,
        file_id,
        sent_ms,
        now_ms,
        files,
    )
    return _get(db, insert_rows(db, "inbox", _INSERTED, [row]))


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
    before_row_id: int | None = None,
) -> list[Item]:
    """Return messages, newest first; those before a row where a list goes on."""
    return [
        _item(row)
        for row in db.execute(
            f"SELECT {_COLUMNS} FROM inbox WHERE (?1 IS NULL OR contact_id = ?1)"  # noqa: S608
            " AND (?2 = 0 OR unread = 1) AND (?3 IS NULL OR received_ms >= ?3)"
            " AND (?5 IS NULL OR row_id < ?5) ORDER BY row_id DESC LIMIT ?4",
            (contact_id, unread, since_ms, limit, before_row_id),
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
