"""The inbox: each received message once, and how far each lane has got.

Whether a message is new depends on (contact, outbox id, lane, number) and its link (`lanes`). A message that comes
ahead of its turn is taken and recorded beyond the watermark; one that is too far ahead is left to be sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import apsw

from peerpost.errors import NotFoundError
from peerpost.store.db.ballast import require_space
from peerpost.store.db.rows import insert_rows
from peerpost.store.files.names import FOLDER_SUFFIX
from peerpost.wire import inner as wire
from peerpost.wire import limits

from . import ids, quota, transfers
from .lanes import Lanes, Mark, Place, watermarks
from .preview import beginning
from .served import require_served
from .states import TRANSFER_OPEN

__all__ = [
    "MAX_OPEN_OFFERS",
    "UNKNOWN",
    "Item",
    "Mark",
    "ReceivedBatch",
    "add_file",
    "add_imported",
    "by_number",
    "complete_incoming",
    "count_offers",
    "find",
    "following",
    "list_items",
    "mark",
    "receive_many",
    "remove",
    "unread_counts",
    "watermarks",
]

UNKNOWN = "unknown"
"""The kind of a message that only a later version of Peerpost can show."""
FOLLOWED_ROWS = 64
FOLLOWED_BYTES = 256 << 10
"""What a reader of the inbox is given at once, at most, but one row in any case: it may take its time."""
MAX_OPEN_OFFERS = 1024
"""Incoming files of one contact that have not ended. More are not acknowledged: the contact keeps them until later."""
_COLUMNS = (
    "row_id, id, contact_id, iif(foreign_kind IS NULL, kind, 'unknown'), gap, size, name,"
    " iif(foreign_kind IS NULL, body, NULL), file_id, sent_ms, received_ms, unread, files,"
    " (SELECT path FROM plain WHERE inbox_id = inbox.id AND done = 1), origin NOTNULL"
)
_INSERTED = (
    "id, contact_id, kind, outbox_id, lane, seq, gap, size, name, body, file_id, sent_ms,"
    " received_ms, files, link, foreign_kind"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row of the inbox."""

    row_id: int
    id: str
    contact_id: str
    kind: str
    """text, file, or unknown: a kind that this version does not know. Its body is kept and not shown."""
    gap: bool
    """Whether the message before it was missing when it came, or is not the one that it follows."""
    size: int
    name: str | None
    body: bytes | None = field(repr=False)
    file_id: bytes | None
    sent_ms: int
    received_ms: int
    unread: bool
    files: int | None
    """Of a folder: how many files are in it, as its sender says; None if it is no folder."""
    plain_path: str | None = None
    """For a file that was written to the folder of downloads: its path there."""
    imported: bool = False
    """Whether it is from a bundle (`imported`): nobody vouches for it."""

    @property
    def preview(self) -> str:
        """The beginning of a text, or a file's name; hostile to terminals until made safe."""
        return self.name or "" if self.body is None else beginning(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBatch:
    """The outcome of a batch."""

    items: list[Item]
    offers: list[bytes]
    """File ids offered for the first time."""
    marks: list[Mark]
    """Of every lane that the batch touched: to be acknowledged."""
    ended: list[tuple[bytes, str]]
    """File ids that were offered again although their transfer has ended, and how: the contact does not know."""
    conflicts: list[tuple[bytes, int]]
    """Outbox ids and lanes on which a number came again with another message."""
    held: int = 0
    """Offers that were not taken and will be sent again, because too many of this contact are open already."""


def _item(row: tuple[object, ...]) -> Item:
    values = dict(zip(Item.__slots__, row, strict=True))
    for flag in ("gap", "unread", "imported"):
        values[flag] = bool(values[flag])
    return Item(**values)  # type: ignore[arg-type]


def receive_many(
    db: apsw.Connection,
    contact_id: str,
    messages: Iterable[tuple[wire.Message, bytes]],
    now_ms: int,
    *,
    quota_bytes: int = quota.DEFAULT_BYTES,
) -> ReceivedBatch:
    """Take numbered messages of one contact, each with its link, in the order they came.

    Raises StoreFullError, with none of them taken, while the disk is full and one is new; QuotaError if the contact
    has used up its quota; and what `served.require_served` raises.
    """
    require_served(db, contact_id)
    lanes = Lanes(db, contact_id)
    shown: list[tuple[wire.Message, bytes, bool]] = []
    offers: list[bytes] = []
    ended: list[tuple[bytes, str]] = []
    held, room_bytes, places = 0, None, None
    held_lanes: set[tuple[bytes, int]] = set()
    for message, link in messages:
        key = (message.outbox_id, message.lane)
        if message.kind == wire.Kind.OFFER and key not in held_lanes and lanes.is_new(message):
            if places is None:
                places = MAX_OPEN_OFFERS - count_offers(db, contact_id)
            places -= 1
            if places < 0:
                held_lanes.add(key)
        if key in held_lanes:
            # Later messages on its lane wait with it, so that order is kept and no gap is shown.
            held += 1
            continue
        place = lanes.place(message, link)
        if place not in (Place.NEXT, Place.GAP):
            continue
        if message.kind != wire.Kind.SKIP:
            require_space(db)
        if message.ext and lanes.known_before(message):
            continue
        if message.kind == wire.Kind.SKIP:
            continue
        if room_bytes is None:
            room_bytes = quota.room(db, contact_id, quota_bytes)
        room_bytes -= len(message.body) + quota.ROW_BYTES
        if message.kind != wire.Kind.OFFER:
            shown.append((message, link, place is Place.GAP))
        elif _offer(db, contact_id, message, now_ms):
            offers.append(wire.decode_offer(message.body).file_id)
        else:
            ended += _how_ended(db, contact_id, message)
    if room_bytes is not None and room_bytes < 0:
        raise quota.used_up()
    items = _add(db, contact_id, shown, now_ms)
    return ReceivedBatch(
        items=items,
        offers=offers,
        marks=lanes.store(),
        ended=ended,
        conflicts=lanes.conflicts,
        held=held,
    )


def _how_ended(
    db: apsw.Connection, contact_id: str, message: wire.Message
) -> list[tuple[bytes, str]]:
    """Return how a file ended that is offered again, if it has ended."""
    file_id = wire.decode_offer(message.body).file_id
    rows = db.execute(
        "SELECT file_id, state FROM transfers WHERE contact_id = ? AND file_id = ?"
        " AND incoming = 1 AND state IN ('done', 'failed', 'cancelled')",
        (contact_id, file_id),
    )
    return [(bytes(found), str(state)) for found, state in rows]


def count_offers(db: apsw.Connection, contact_id: str) -> int:
    """Return how many incoming files of a contact have not ended."""
    query = (
        f"SELECT count(*) FROM transfers WHERE contact_id = ? AND incoming = 1 AND {TRANSFER_OPEN}"  # noqa: S608
    )
    count: int = db.execute(query, (contact_id,)).get
    return count


def _offer(db: apsw.Connection, contact_id: str, message: wire.Message, now_ms: int) -> bool:
    """Record an offered file; return False if it was offered before, or if we offered it ourselves.

    Messages about a file name only its id. If a file in the other direction had the same id, a message about one
    would end the other.
    """
    offer = wire.decode_offer(message.body)
    ours = "SELECT 1 FROM transfers WHERE contact_id = ? AND file_id = ? AND incoming = 0"
    if db.execute(ours, (contact_id, offer.file_id)).fetchone() is not None:
        return False
    # A text is held in memory to be shown. If it may be too long for that, it is a file, whatever the sender says.
    as_text = offer.as_text and offer.size is not None and offer.size <= limits.MAX_TEXT_BYTES
    files = None if as_text else wire.files_in(offer)
    return transfers.add_incoming(
        db,
        contact_id,
        message,
        offer,
        name=offer.name if files is None else offer.name.removesuffix(FOLDER_SUFFIX),
        as_text=as_text,
        files=files,
        now_ms=now_ms,
    )


def _add(
    db: apsw.Connection,
    contact_id: str,
    shown: list[tuple[wire.Message, bytes, bool]],
    now_ms: int,
) -> list[Item]:
    """Add texts and messages of unknown kinds to the inbox, each with its link and whether a gap is before it."""
    if not shown:
        return []
    rows = [
        (
            id_,
            contact_id,
            "text",
            message.outbox_id,
            message.lane,
            message.seq,
            int(gap),
            len(message.body),
            None,
            message.body,
            None,
            message.sent_at_ms,
            now_ms,
            None,
            link,
            None if message.kind == wire.Kind.TEXT else message.kind,
        )
        for (message, link, gap), id_ in zip(
            shown, ids.new_ids(db, "inbox", len(shown)), strict=True
        )
    ]
    first = insert_rows(db, "inbox", _INSERTED, rows)
    return [
        Item(
            row_id=first + at,
            id=row[0],
            contact_id=contact_id,
            kind="text" if row[15] is None else UNKNOWN,
            gap=bool(row[6]),
            size=row[7],
            name=None,
            body=row[9] if row[15] is None else None,
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
    """Add a complete file to the inbox, or the long text that it carries.

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
        None,
        None,
    )
    return _get(db, insert_rows(db, "inbox", _INSERTED, [row]))


def add_imported(db: apsw.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Add messages that were imported, each before all that are there; a row is `_INSERTED`, `unread` and `origin`."""
    if not rows:
        return
    first: int = db.execute("SELECT min(0, ifnull(min(row_id), 0)) FROM inbox").get
    numbered = [(first - at, *row) for at, row in enumerate(rows, 1)]
    insert_rows(db, "inbox", f"row_id, {_INSERTED}, unread, origin", numbered)


def complete_incoming(
    db: apsw.Connection, transfer_id: str, end: wire.Finish, name: str, now_ms: int
) -> Item | None:
    """Show a whole file in the inbox; return None if it is there already, or was given up."""
    transfer = transfers.complete(db, transfer_id, end)
    if transfer is None:
        return None
    return add_file(
        db,
        contact_id=transfer.contact_id,
        file_id=transfer.file_id,
        as_text=transfer.as_text,
        name=name,
        size=end.size,
        files=transfer.files,
        source=(
            transfer.outbox_id or bytes(16),
            transfer.lane or 0,
            transfer.seq or 0,
            transfer.sent_ms or 0,
        ),
        now_ms=now_ms,
    )


def _get(db: apsw.Connection, row_id: int) -> Item:
    row = db.execute(f"SELECT {_COLUMNS} FROM inbox WHERE row_id = ?", (row_id,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the message was deleted")
    return _item(row)


def by_number(db: apsw.Connection, row_ids: Sequence[int]) -> dict[int, Item]:
    """Return the rows of these numbers that are here."""
    places = ", ".join("?" * len(row_ids))
    rows = db.execute(f"SELECT {_COLUMNS} FROM inbox WHERE row_id IN ({places})", row_ids)  # noqa: S608
    return {item.row_id: item for item in map(_item, rows)}


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
    beyond_row_id: int | None = None,
    oldest: bool = False,
) -> list[Item]:
    """Return messages, newest or `oldest` first; if a list goes on, those after a row in that order."""
    # Not as an alternative to NULL: SQLite would begin at the first row each time, and pass over all that were shown.
    follows, order = (
        (" AND row_id > ?5", "row_id") if oldest else (" AND row_id < ?5", "row_id DESC")
    )
    follows, beyond = ("", ()) if beyond_row_id is None else (follows, (beyond_row_id,))
    return [
        _item(row)
        for row in db.execute(
            f"SELECT {_COLUMNS} FROM inbox WHERE (?1 IS NULL OR contact_id = ?1)"  # noqa: S608
            " AND (?2 = 0 OR unread = 1) AND (?3 IS NULL OR received_ms >= ?3)"
            f"{follows} ORDER BY {order} LIMIT ?4",
            (contact_id, unread, since_ms, limit, *beyond),
        )
    ]


def following(db: apsw.Connection, after_row_id: int, most_rows: int | None = None) -> list[Item]:
    """Return the next messages behind a row, oldest first: some of them, so that they take little memory."""
    found: list[Item] = []
    size_bytes = 0
    for row in db.execute(
        f"SELECT {_COLUMNS} FROM inbox WHERE row_id > ? ORDER BY row_id LIMIT ?",  # noqa: S608
        (after_row_id, FOLLOWED_ROWS if most_rows is None else most_rows),
    ):
        found.append(_item(row))
        size_bytes += len(found[-1].body or b"")
        if size_bytes >= FOLLOWED_BYTES:
            break
    return found


def mark(db: apsw.Connection, item_ids: Iterable[str], *, unread: bool) -> None:
    """Mark messages as read or unread."""
    for id_ in item_ids:
        db.execute("UPDATE inbox SET unread = ? WHERE id = ?", (unread, id_))


def remove(db: apsw.Connection, item_id: str) -> None:
    """Take a message out; `deletion` must have noted before that it was here."""
    db.execute("DELETE FROM inbox WHERE id = ?", (item_id,))


def unread_counts(db: apsw.Connection) -> dict[str, int]:
    """Return how many unread messages each contact has in the inbox."""
    return dict(
        db.execute("SELECT contact_id, count(*) FROM inbox WHERE unread = 1 GROUP BY contact_id")
    )
