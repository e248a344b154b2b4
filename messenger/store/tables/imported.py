"""History that comes in from a bundle.

A message that is imported is shown, searched and deleted like any other, and is nothing else: it is never sent, no
receipt or number of a session means it, no reader of the inbox is given it, no quota counts it, and the journal does
not tell of it. For that it has a number that no session can name (`_alias`), and a row below all others.

The newest comes first, and each gets the row before all that are there. So an import that was cut off goes on where it
stopped, and the order is that of the home that it comes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import apsw

from peerpost.bundle.record import Card, Record, body_of
from peerpost.crypto.labels import PERSON_IMPORTED
from peerpost.errors import BadInputError
from peerpost.store.db.ballast import require_room
from peerpost.store.files.names import safe_name
from peerpost.store.files.sealed import End
from peerpost.wire import inner as wire
from peerpost.wire import limits

from . import former, ids, inbox, outbox, transfers
from .inbox import UNKNOWN
from .states import ENTRY_NEXT
from .transfers import Transfer

__all__ = ["Arrival", "Taken", "ended", "file_of", "known", "take", "weigh"]

NOT_DELIVERED: Final = "it was not delivered when it was exported"
"""The error of a message that was still queued. It is `cancelled` where it is imported: it is not sent from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message to be imported, and its file, which lies in the home already."""

    record: Record
    file: Transfer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of an import."""

    imported: int
    duplicates: int
    """How many were here already."""
    renamed: int
    """How many have another id than in the bundle, because it was taken."""
    former: dict[str, str]
    """The names of those whose messages are here now and who are no contacts, by id."""


def known(db: apsw.Connection, cards: Sequence[Card], record: Record) -> bool:
    """Return whether a message is here already, so that its file need not be read."""
    contact_ids, _ = _contacts(db, cards, remember=False)
    return _is_here(db, _of(contact_ids, record), record)


def take(db: apsw.Connection, cards: Sequence[Card], arrivals: Sequence[Arrival]) -> Taken:
    """Import messages in this order, each older than the ones before it of its direction.

    Raises BadInputError for one whose contact has no card, StoreFullError while the disk is full.
    """
    require_room(db)
    named = {arrival.record.contact for arrival in arrivals}
    used = [card for card in cards if card.id in named]
    contact_ids, names = _contacts(db, used, remember=True)
    items: list[tuple[Any, ...]] = []
    entries: list[tuple[Any, ...]] = []
    given: set[tuple[str, str]] = set()
    numbers: set[tuple[object, ...]] = set()
    duplicates = renamed = 0
    for arrival in arrivals:
        record = arrival.record
        contact_id = _of(contact_ids, record)
        number = (record.direction, contact_id, record.outbox, record.lane, record.seq)
        if (*number, record.sent_ms) in numbers or _is_here(db, contact_id, record):
            duplicates += 1
            continue
        numbers.add((*number, record.sent_ms))
        table = "inbox" if record.direction == "received" else "outbox"
        id_ = record.id
        if (table, id_) in given or ids.is_taken(db, table, id_):
            id_ = ids.new_id(db, table)
            renamed += 1
        given.add((table, id_))
        if record.direction == "received":
            items.append(_item(id_, contact_id, record, arrival.file))
        else:
            entries.append(_entry(id_, contact_id, record))
        if arrival.file is not None:
            transfers.add_imported(db, arrival.file, contact_id)
    inbox.add_imported(db, items)
    outbox.add_imported(db, entries)
    return Taken(
        imported=len(items) + len(entries), duplicates=duplicates, renamed=renamed, former=names
    )


def weigh(db: apsw.Connection, cards: Sequence[Card], records: Sequence[Record]) -> Taken:
    """Return what would come of an import, and change nothing. Ids are not looked at."""
    contact_ids, _ = _contacts(db, cards, remember=False)
    here = sum(_is_here(db, _of(contact_ids, record), record) for record in records)
    return Taken(imported=len(records) - here, duplicates=here, renamed=0, former={})


def _of(contact_ids: dict[str, str], record: Record) -> str:
    if record.contact not in contact_ids:
        raise BadInputError(f"the message {record.id} is of a contact without a card")
    return contact_ids[record.contact]


def _contacts(
    db: apsw.Connection, cards: Sequence[Card], *, remember: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Return who each card is here: ids by those of the cards, and the names of those who are no contacts."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for card in cards:
        identity = None if card.identity is None else bytes.fromhex(card.identity)
        row = db.execute("SELECT id FROM contacts WHERE id_public = ?", (identity,)).fetchone()
        if row is not None:
            found[card.id] = str(row[0])
            continue
        id_ = former.who(db, card.id, card.name, identity)
        if id_ is None:
            unnamed = hashlib.blake2b(
                f"{card.id} {card.name}".encode(), digest_size=32, person=PERSON_IMPORTED
            )
            id_ = ids.contact_id(db, identity or unnamed.digest())
        found[card.id] = id_
        if remember:
            names[id_] = former.add(db, id_, card.name, identity)
    return found, names


def _is_here(db: apsw.Connection, contact_id: str, record: Record) -> bool:
    """Return whether this message is here, as its own home has it or from an import, under whatever id."""
    table, at = ("inbox", "sent_ms") if record.direction == "received" else ("outbox", "created_ms")
    outbox_id = bytes.fromhex(record.outbox)
    row = db.execute(
        f"SELECT 1 FROM {table} WHERE contact_id = ?1 AND seq = ?2 AND lane = ?3 AND {at} = ?4"  # noqa: S608
        " AND outbox_id IN (?5, ?6)",
        (
            contact_id,
            record.seq,
            record.lane,
            record.sent_ms,
            outbox_id,
            _alias(outbox_id, record.sent_ms),
        ),
    ).fetchone()
    if row is None:
        # It may have got another number since: a queue that was put back to an older state is numbered anew.
        row = db.execute(
            f"SELECT 1 FROM {table} WHERE id = ? AND contact_id = ? AND {at} = ?",  # noqa: S608
            (record.id, contact_id, record.sent_ms),
        ).fetchone()
    return row is not None


def _alias(outbox_id: bytes, sent_ms: int) -> bytes:
    """Return the outbox id under which a message is kept: always the same one, and none that a session can name."""
    data = outbox_id + sent_ms.to_bytes(8, "big")
    return hashlib.blake2b(data, digest_size=16, person=PERSON_IMPORTED).digest()


def _item(id_: str, contact_id: str, record: Record, file: Transfer | None) -> tuple[Any, ...]:
    outbox_id = bytes.fromhex(record.outbox)
    has_file = record.kind == "file" or record.file is not None
    return (
        id_,
        contact_id,
        "text" if record.kind == UNKNOWN else record.kind,
        _alias(outbox_id, record.sent_ms),
        record.lane,
        record.seq,
        int(record.gap),
        record.size,
        safe_name(record.name) if record.name is not None and record.kind == "file" else None,
        body_of(record),
        # One whose file is missing is a file all the same, and says so when it is to be saved.
        (bytes(16) if file is None else file.file_id) if has_file else None,
        record.sent_ms,
        record.at_ms,
        record.files,
        None,
        record.foreign_kind,
        int(record.unread),
        outbox_id,
    )


def _entry(id_: str, contact_id: str, record: Record) -> tuple[Any, ...]:
    outbox_id = bytes.fromhex(record.outbox)
    alias = _alias(outbox_id, record.sent_ms)
    state, error = record.state or "cancelled", record.error
    if ENTRY_NEXT[state]:
        state, error = "cancelled", error or NOT_DELIVERED
    body = body_of(record)
    message = wire.Message(
        kind=wire.Kind.SKIP if body is None else wire.Kind.TEXT,
        outbox_id=alias,
        lane=record.lane,
        seq=max(1, record.seq),
        prev=wire.FIRST_LINK,
        sent_at_ms=record.sent_ms,
        body=wire.FIRST_LINK if body is None else body,
    )
    return (
        id_,
        contact_id,
        record.lane,
        record.kind,
        alias,
        record.seq,
        state,
        wire.encode(message),
        wire.FIRST_LINK,
        record.size,
        record.name,
        None,
        record.sent_ms,
        record.expires_ms,
        None,
        record.at_ms,
        error,
        outbox_id,
    )


def file_of(
    record: Record, *, transfer_id: str, file_id: bytes, key: bytes, now_ms: int
) -> Transfer:
    """Return the transfer of a file that is being imported, as if it were coming."""
    return Transfer(
        file_id=file_id,
        incoming=True,
        id=transfer_id,
        contact_id=record.contact,
        state="done",
        name=record.name or "",
        as_text=record.kind == "text",
        size=record.size,
        chunk_log2=limits.CHUNK_LOG2,
        key=key,
        finish_size=None,
        finish_count=None,
        finish_root=None,
        have=b"",
        progress_bytes=record.size or 0,
        source=None,
        outbox_id=None,
        lane=record.lane,
        seq=record.seq,
        sent_ms=record.sent_ms,
        error=None,
        created_ms=now_ms,
        content_id=None,
        peer_pause=None,
        files=record.files,
        accepted_bytes=None,
        mode=record.mode,
        mtime_s=record.mtime_s,
    )


def ended(file: Transfer, end: End) -> Transfer:
    """Return a file that is being imported as one that is whole."""
    return replace(file, finish_size=end.size, finish_count=end.count, finish_root=end.root)
