"""The outbox: what was queued for whom, in order, until the peer has it on its disk.

Every entry has a number in its lane (PROTOCOL.md, "Sequenced messages") and keeps its inner bytes
verbatim, so that sending again sends the same. An entry that ends undelivered leaves a tombstone
under its number: otherwise the receiver's watermark would stop there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apsw

from peerpost.errors import NotFoundError
from peerpost.store.db.ballast import require_room
from peerpost.store.db.rows import insert_rows
from peerpost.wire import inner as wire

from . import chains, grams, identity, ids, transfers
from .numbered import link_of, numbers_beyond, skip_of
from .offered import paced
from .served import require_known
from .states import ENTRY_NEXT, ENTRY_OPEN

__all__ = [
    "Draft",
    "Entry",
    "acknowledge",
    "add_imported",
    "any_open",
    "bury",
    "by_number",
    "cancel",
    "enqueue",
    "enqueue_many",
    "entomb",
    "expire",
    "file_delivered",
    "find",
    "forget",
    "has_open",
    "load",
    "make_tombstone",
    "mark_sent",
    "offer_again",
    "open_file",
    "open_files",
    "renumber",
    "reopen",
    "select",
    "set_size",
    "settle",
    "unsettled",
]

TAKEN = "cancelled by the sender"
"""The reason given for the end of a transfer whose entry was cancelled."""
FORGOTTEN_ROWS = 1000
"""How many entries are forgotten in one transaction."""
_BY_RECEIPT = f"kind = 'text' AND file_id IS NULL AND {ENTRY_OPEN}"
"""The entries that a receipt delivers, because their message contains all of them."""
_COLUMNS = (
    "row_id, id, contact_id, lane, kind, outbox_id, seq, state, settled, inner, size, name,"
    " file_id, created_ms, delivered_ms, expires_ms, last_error, origin NOTNULL"
)
_INSERTED = (
    "id, contact_id, lane, kind, outbox_id, seq, state, inner, link, size, name, file_id,"
    " created_ms, expires_ms, once"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the outbox."""

    row_id: int
    id: str
    contact_id: str
    lane: int
    kind: str
    """text or file."""
    outbox_id: bytes
    seq: int
    state: str
    """queued, sent, delivered, cancelled, refused or expired."""
    settled: bool
    """Whether the peer has acknowledged the number. Whether a file has arrived is up to its transfer."""
    inner: bytes = field(repr=False)
    size: int | None
    name: str | None
    file_id: bytes | None
    created_ms: int
    delivered_ms: int | None
    expires_ms: int | None
    last_error: str | None
    imported: bool = False
    """Whether it is from a bundle (`imported`): this home has not sent it."""
    repeated: bool = False
    """Whether it was there already when it was to be queued again under the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message to be queued."""

    contact_id: str
    lane: int
    message_kind: wire.Kind
    body: bytes = field(repr=False)
    """The content of its message; the message gets its number here."""
    kind: str = "text"
    """As in the list: text or file."""
    size: int | None
    now_ms: int
    name: str | None = None
    file_id: bytes | None = None
    expires_ms: int | None = None
    from_reserve: bool = False
    """Whether it is so short that it is accepted even on a full disk."""
    once: str | None = None
    """A key: if this contact was sent something under it before, nothing is queued."""


def _entry(row: Sequence[Any]) -> Entry:
    values = dict(zip(Entry.__slots__[:-1], row, strict=True))
    values["settled"], values["imported"] = bool(values["settled"]), bool(values["imported"])
    return Entry(**values)


def _get(db: apsw.Connection, row_id: int) -> Entry:
    row = db.execute(f"SELECT {_COLUMNS} FROM outbox WHERE row_id = ?", (row_id,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the entry is gone")
    return _entry(row)


def select(db: apsw.Connection, where: str, values: Sequence[Any] = ()) -> list[Entry]:
    """Return the entries that fulfil a condition in SQL, which may end with an order and a limit."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM outbox WHERE {where}", values)  # noqa: S608
    return [_entry(row) for row in rows.fetchall()]


def by_number(db: apsw.Connection, row_ids: Sequence[int]) -> dict[int, Entry]:
    """Return the entries of these numbers that are here."""
    found = select(db, f"row_id IN ({', '.join('?' * len(row_ids))})", row_ids)
    return {entry.row_id: entry for entry in found}


def enqueue(
    db: apsw.Connection,
    *,
    contact_id: str,
    lane: int,
    message_kind: wire.Kind,
    body: bytes,
    kind: str = "text",
    size: int | None,
    now_ms: int,
    name: str | None = None,
    file_id: bytes | None = None,
    expires_ms: int | None = None,
    from_reserve: bool = False,
) -> Entry:
    """Add an entry with the next number of its lane. Raises as `enqueue_many`."""
    draft = Draft(
        contact_id=contact_id,
        lane=lane,
        message_kind=message_kind,
        body=body,
        kind=kind,
        size=size,
        now_ms=now_ms,
        name=name,
        file_id=file_id,
        expires_ms=expires_ms,
        from_reserve=from_reserve,
    )
    return enqueue_many(db, [draft])[0]


def enqueue_many(db: apsw.Connection, drafts: Sequence[Draft]) -> list[Entry]:
    """Add entries in this order, each with the next number of its lane.

    For a key that was used before, return the entry of then. Raises NotFoundError if a contact was removed meanwhile,
    StoreFullError while the disk is full, ValueError if inner bytes are too long.
    """
    if any(draft.once is not None for draft in drafts):
        return [_enqueue_once(db, draft) for draft in drafts]
    return _enqueue(db, drafts)


def _enqueue_once(db: apsw.Connection, draft: Draft) -> Entry:
    found = select(db, "contact_id = ? AND once = ?", (draft.contact_id, draft.once))
    return replace(found[0], repeated=True) if found else _enqueue(db, [draft])[0]


def _enqueue(db: apsw.Connection, drafts: Sequence[Draft]) -> list[Entry]:
    if not all(draft.from_reserve for draft in drafts):
        require_room(db)
    lasts: dict[tuple[str, int], tuple[bytes, int, bytes]] = {}
    rows: list[tuple[Any, ...]] = []
    for draft, id_ in zip(drafts, ids.new_ids(db, "outbox", len(drafts)), strict=True):
        key = (draft.contact_id, draft.lane)
        outbox_id, last_seq, prev = lasts.get(key) or _load_chain(db, *key)
        seq = last_seq + 1
        inner = _numbered(draft, outbox_id, seq, prev)
        link = link_of(inner)
        lasts[key] = (outbox_id, seq, link)
        row = (id_, *key, draft.kind, outbox_id, seq, "queued", inner, link, draft.size, draft.name)
        rows.append((*row, draft.file_id, draft.now_ms, draft.expires_ms, draft.once))
    for (contact_id, lane), (outbox_id, seq, link) in lasts.items():
        chains.put(db, contact_id, outbox_id, lane, seq, link)
    first = insert_rows(db, "outbox", _INSERTED, rows)
    return [
        Entry(
            row_id=first + at,
            id=row[0],
            contact_id=row[1],
            lane=row[2],
            kind=row[3],
            outbox_id=row[4],
            seq=row[5],
            state=row[6],
            settled=False,
            inner=row[7],
            size=row[9],
            name=row[10],
            file_id=row[11],
            created_ms=row[12],
            delivered_ms=None,
            expires_ms=row[13],
            last_error=None,
        )
        for at, row in enumerate(rows)
    ]


def add_imported(db: apsw.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add entries that were imported, each before all that are there, and none of them to be sent.

    A row is `_INSERTED` and when it was delivered, its error and its `origin`.
    """
    if not rows:
        return
    first: int = db.execute("SELECT min(0, ifnull(min(row_id), 0)) FROM outbox").get
    columns = f"row_id, settled, {_INSERTED}, delivered_ms, last_error, origin"
    numbered = [(first - at, 1, *row) for at, row in enumerate(rows, 1)]
    insert_rows(db, "outbox", columns, numbered)


def _numbered(draft: Draft, outbox_id: bytes, seq: int, prev: bytes) -> bytes:
    """Return the inner bytes of a message under its number."""
    return wire.encode(
        wire.Message(
            kind=draft.message_kind,
            outbox_id=outbox_id,
            lane=draft.lane,
            seq=seq,
            prev=prev,
            sent_at_ms=draft.now_ms,
            body=draft.body,
        )
    )


def _load_chain(db: apsw.Connection, contact_id: str, lane: int) -> tuple[bytes, int, bytes]:
    """Return our outbox id and the last number and link of a lane."""
    require_known(db, contact_id)
    outbox_id = identity.outbox_id_for(db, contact_id)
    return outbox_id, *(chains.last(db, contact_id, outbox_id, lane) or (0, wire.FIRST_LINK))


def unsettled(
    db: apsw.Connection, contact_id: str, lane: int, after_row_id: int, limit: int
) -> list[Entry]:
    """Return what the peer has not acknowledged, tombstones too, in order."""
    where = "contact_id = ? AND lane = ? AND settled = 0 AND row_id > ? ORDER BY row_id LIMIT ?"
    return select(db, where, (contact_id, lane, after_row_id, limit))


def load(
    db: apsw.Connection, contact_id: str, lane: int, after_row_id: int, limit: int
) -> tuple[list[Entry], tuple[bytes, int] | None]:
    """Return the entries of `unsettled` that may be sent now, with our outbox id and the lane's last number.

    None instead of the last two means that files wait until others have ended (`offered`).
    """
    outbox_id = identity.outbox_id_for(db, contact_id)
    last_seq, _ = chains.last(db, contact_id, outbox_id, lane) or (0, b"")
    entries = unsettled(db, contact_id, lane, after_row_id, limit)
    kept = paced(db, contact_id, after_row_id, entries)
    return kept, None if len(kept) < len(entries) else (outbox_id, last_seq)


def mark_sent(db: apsw.Connection, row_ids: Iterable[int]) -> list[Entry]:
    """Record that entries were sent once; return those that changed."""
    changed = []
    for row_id in row_ids:
        db.execute(
            "UPDATE outbox SET state = 'sent' WHERE row_id = ? AND state = 'queued'", (row_id,)
        )
        if db.changes():
            changed.append(_get(db, row_id))
    return changed


def acknowledge(
    db: apsw.Connection,
    contact_id: str,
    outbox_id: bytes,
    lane: int,
    watermark: int,
    sack: bytes,
    now_ms: int,
) -> list[Entry]:
    """Settle what a receipt covers; return what changed.

    Texts are delivered by it, files (and the long texts that travel as files) by their last chunk.
    """
    key = (contact_id, outbox_id, lane)
    settled = _settle(db, "seq <= ?", key, watermark, now_ms)
    for seq in numbers_beyond(watermark, sack):
        settled += _settle(db, "seq = ?", key, seq, now_ms)
    return settled


def _settle(
    db: apsw.Connection, which: str, key: tuple[str, bytes, int], seq: int, now_ms: int
) -> list[Entry]:
    rows = db.execute(
        "UPDATE outbox SET settled = 1,"  # noqa: S608
        f" delivered_ms = CASE WHEN {_BY_RECEIPT} THEN ? ELSE delivered_ms END,"
        f" state = CASE WHEN {_BY_RECEIPT} THEN 'delivered'"
        " WHEN state = 'queued' THEN 'sent' ELSE state END"
        f" WHERE contact_id = ? AND outbox_id = ? AND lane = ? AND settled = 0 AND {which}"
        f" RETURNING {_COLUMNS}",
        (now_ms, *key, seq),
    )
    return [_entry(row) for row in rows]


def make_tombstone(db: apsw.Connection, row_id: int) -> None:
    """Replace an entry by a SKIP with its number and link."""
    if (skip := skip_of(_get(db, row_id).inner)) is not None:
        db.execute("UPDATE outbox SET inner = ? WHERE row_id = ?", (skip, row_id))


def entomb(db: apsw.Connection, entry: Entry, state: str, error: str | None) -> Entry:
    """End an entry undelivered: a SKIP with its number and link replaces it, and a file's transfer ends."""
    if not entry.settled:
        make_tombstone(db, entry.row_id)
    db.execute(
        "UPDATE outbox SET state = ?, last_error = coalesce(?, last_error) WHERE row_id = ?",
        (state, error, entry.row_id),
    )
    if (file_id := entry.file_id) is not None:
        transfers.end_outgoing(db, entry.contact_id, file_id, "cancelled", error or TAKEN)
    return _get(db, entry.row_id)


def bury(db: apsw.Connection, contact_id: str) -> None:
    """Forget what was queued for a contact. What it has stays, and so do tombstones for numbers it may lack."""
    undelivered = "contact_id = ? AND state <> 'delivered'"
    db.execute(f"DELETE FROM outbox WHERE {undelivered} AND settled = 1", (contact_id,))  # noqa: S608
    for entry in select(db, "contact_id = ? AND settled = 0", (contact_id,)):
        # A file may be delivered before the number of its offer was acknowledged.
        entomb(db, entry, entry.state if entry.state == "delivered" else "cancelled", None)
    gone = "name = NULL, size = NULL, file_id = NULL"
    db.execute(f"UPDATE outbox SET {gone} WHERE {undelivered}", (contact_id,))  # noqa: S608


def forget(db: apsw.Connection, contact_id: str) -> bool:
    """Forget what was sent to a contact that was removed, except the numbers of entries that it may lack.

    Return whether there is more than one transaction may delete; call it again then.
    """
    chosen: list[tuple[int]] = []
    slices: set[int] = set()
    rows: Any = db.execute(
        "SELECT row_id FROM outbox WHERE contact_id = ? AND settled = 1 LIMIT ?",
        (contact_id, FORGOTTEN_ROWS + 1),
    ).fetchall()
    for (row_id,) in rows[:FORGOTTEN_ROWS]:
        slices.add(row_id >> grams.SLICE_BITS)
        if len(slices) > grams.AT_ONCE:
            break
        chosen.append((row_id,))
    db.executemany("DELETE FROM outbox WHERE row_id = ?", chosen)
    if len(chosen) < len(rows):
        return True
    # The contact may lack the numbers of the rest, which have been tombstones since it was removed.
    db.execute(
        "UPDATE outbox SET state = 'cancelled', name = NULL, size = NULL, file_id = NULL,"
        " delivered_ms = NULL, last_error = NULL WHERE contact_id = ?",
        (contact_id,),
    )
    return False


def offer_again(db: apsw.Connection, contact_id: str) -> None:
    """Offer under new numbers the files that a contact has been offered and has not got.

    A contact that has removed us knows their numbers and nothing of the files. A contact that knows the files ignores
    the new offers.
    """
    offered = select(
        db,
        "contact_id = ? AND file_id IS NOT NULL AND settled = 1 AND state = 'sent'",
        (contact_id,),
    )
    for entry in offered:
        message = wire.decode(entry.inner)
        if not isinstance(message, wire.Message) or message.kind != wire.Kind.OFFER:
            continue
        outbox_id, last_seq, prev = _load_chain(db, contact_id, entry.lane)
        draft = Draft(
            contact_id=contact_id,
            lane=entry.lane,
            message_kind=wire.Kind.OFFER,
            body=message.body,
            size=entry.size,
            now_ms=entry.created_ms,
        )
        inner = _numbered(draft, outbox_id, last_seq + 1, prev)
        link = link_of(inner)
        chains.put(db, contact_id, outbox_id, entry.lane, last_seq + 1, link)
        renumber(db, entry.row_id, outbox_id, last_seq + 1, inner, link)
        # A lane is read in the order of the rows, which must be that of the numbers.
        db.execute(
            "UPDATE outbox SET settled = 0, row_id = (SELECT max(row_id) + 1 FROM outbox)"
            " WHERE row_id = ?",
            (entry.row_id,),
        )


def cancel(db: apsw.Connection, id_: str) -> Entry:
    """Cancel an entry, or find it cancelled already. Raises NotFoundError if it is not queued any more."""
    entry = find(db, id_)
    if entry.state == "cancelled":
        return entry
    if "cancelled" not in ENTRY_NEXT[entry.state]:
        raise NotFoundError(f"{entry.id} is {entry.state} already", hint="see: peerpost sent list")
    return entomb(db, entry, "cancelled", None)


def expire(db: apsw.Connection, now_ms: int) -> list[Entry]:
    """End what was not delivered before its --expires."""
    due = select(db, f"expires_ms IS NOT NULL AND expires_ms <= ? AND {ENTRY_OPEN}", (now_ms,))
    return [entomb(db, entry, "expired", "not delivered in time") for entry in due]


def open_file(db: apsw.Connection, contact_id: str, file_id: bytes) -> Entry | None:
    """Return the entry of a file that has not ended, or None."""
    found = select(db, f"contact_id = ? AND file_id = ? AND {ENTRY_OPEN}", (contact_id, file_id))
    return found[0] if found else None


def open_files(db: apsw.Connection) -> list[Entry]:
    """Return the entries of all files that have not ended."""
    return select(db, f"file_id IS NOT NULL AND {ENTRY_OPEN}")


def file_delivered(db: apsw.Connection, entry: Entry, now_ms: int) -> Entry:
    """Record that the peer has a whole file; the caller must end its transfer (`endings`)."""
    db.execute(
        "UPDATE outbox SET state = 'delivered', delivered_ms = ? WHERE row_id = ?",
        (now_ms, entry.row_id),
    )
    return _get(db, entry.row_id)


def find(db: apsw.Connection, prefix: str) -> Entry:
    """Return the entry whose id begins so. Raises NotFoundError, AmbiguousError."""
    id_ = ids.complete(db, "outbox", prefix, what="queue entry", see="sent list")
    row = db.execute(f"SELECT {_COLUMNS} FROM outbox WHERE id = ?", (id_,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the entry is gone")
    return _entry(row)


def set_size(db: apsw.Connection, contact_id: str, file_id: bytes, size: int) -> None:
    """Note the size of a file that was queued before its size was known."""
    db.execute(
        "UPDATE outbox SET size = ? WHERE contact_id = ? AND file_id = ?",
        (size, contact_id, file_id),
    )


def reopen(
    db: apsw.Connection,
    contact_id: str,
    outbox_id: bytes,
    lane: int,
    watermark: int,
    *,
    delivered: bool = False,
) -> list[int]:
    """Count what was acknowledged beyond a watermark as not acknowledged; return its numbers.

    `delivered`: only what may still be sent, or was delivered.
    """
    which = "AND state IN ('queued', 'sent', 'delivered')" if delivered else ""
    rows: list[Any] = db.execute(
        "UPDATE outbox SET settled = 0 WHERE contact_id = ? AND outbox_id = ? AND lane = ?"  # noqa: S608
        f" AND seq > ? AND settled = 1 {which} RETURNING seq",
        (contact_id, outbox_id, lane, watermark),
    ).fetchall()
    return [seq for (seq,) in rows]


def settle(db: apsw.Connection, row_id: int) -> None:
    """Count an entry as acknowledged, in whatever state it is."""
    db.execute("UPDATE outbox SET settled = 1 WHERE row_id = ?", (row_id,))


def renumber(
    db: apsw.Connection, row_id: int, outbox_id: bytes, seq: int, inner: bytes, link: bytes
) -> None:
    """Give an entry another number, with the message and the link for that number."""
    db.execute(
        "UPDATE outbox SET outbox_id = ?, seq = ?, inner = ?, link = ? WHERE row_id = ?",
        (outbox_id, seq, inner, link, row_id),
    )


def any_open(db: apsw.Connection) -> bool:
    """Return whether any entry is open, for any contact."""
    return db.execute(f"SELECT 1 FROM outbox WHERE {ENTRY_OPEN} LIMIT 1").fetchone() is not None  # noqa: S608


def has_open(db: apsw.Connection, contact_id: str) -> bool:
    """Return whether anything waits for this contact, including tombstones."""
    return (
        db.execute(
            f"SELECT 1 FROM outbox WHERE contact_id = ? AND {ENTRY_OPEN} LIMIT 1",  # noqa: S608
            (contact_id,),
        ).fetchone()
        is not None
        or db.execute(
            "SELECT 1 FROM outbox WHERE contact_id = ? AND settled = 0 LIMIT 1", (contact_id,)
        ).fetchone()
        is not None
    )
