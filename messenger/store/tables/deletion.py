"""Deletion from the inbox. What remains is a note that the message was here, so that it is not shown again.

Rows are deleted in one transaction, and the blobs of files after it. If the node ends in between, `kept_files` does not
name those blobs any more, and the sweep at the next start removes them. The transfer of a file stays `done`, without
its key, so that its sender, who may ask again, is told that it arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from peerpost.errors import NotFoundError

from . import grams, ids, inbox, transfers
from .states import TRANSFER_OPEN

__all__ = [
    "AT_ONCE_BYTES",
    "REMEMBERED",
    "Deleted",
    "delete",
    "delete_older",
    "delete_some",
    "kept_files",
    "older",
]

AT_ONCE_BYTES: Final = 4 << 20
"""How many bytes of texts one transaction deletes by age. They are overwritten, which needs as much space in the log,
even on a full disk."""
REMEMBERED: Final = 1_000_000
"""How many deleted messages of one contact are remembered: as many as the inbox may hold, some hundred bytes each."""

_KEPT: Final = (
    f"incoming = 1 AND ({TRANSFER_OPEN} OR (state = 'done' AND EXISTS (SELECT 1 FROM inbox"  # noqa: S608
    " WHERE inbox.contact_id = transfers.contact_id AND inbox.file_id = transfers.file_id"
    " AND NOT EXISTS (SELECT 1 FROM plain WHERE inbox_id = inbox.id AND done = 1))))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A message that was deleted from the inbox."""

    id: str
    contact_id: str
    kind: str
    """As in the inbox: text, file or unknown."""
    size: int
    file: transfers.Transfer | None
    """For a file, also one that carried a text: the transfer whose blobs must be removed now."""


def delete(
    db: apsw.Connection, prefixes: Iterable[str], contact_id: str | None, now_ms: int
) -> list[Deleted]:
    """Delete messages by the beginnings of their ids, all or none; with `contact_id` only messages of that contact.

    Raises NotFoundError, AmbiguousError, with nothing deleted.
    """
    chosen = dict.fromkeys(_find(db, prefix, contact_id) for prefix in prefixes)
    return _delete(db, list(chosen), now_ms)


def _find(db: apsw.Connection, prefix: str, contact_id: str | None) -> str:
    try:
        id_ = ids.complete(db, "inbox", prefix, what="message", see="inbox list")
    except NotFoundError:
        _raise_if_coming(db, prefix)
        raise
    of = db.execute("SELECT contact_id FROM inbox WHERE id = ?", (id_,)).get
    if contact_id is not None and of != contact_id:
        raise NotFoundError(
            f"message {id_} is not from this contact", hint="nothing was deleted: look at --contact"
        )
    return id_


def _raise_if_coming(db: apsw.Connection, prefix: str) -> None:
    """Raise NotFoundError for a file that is not complete yet; the hint says how to end it."""
    try:
        row = transfers.find(db, prefix)
    except NotFoundError:
        return
    if row.incoming and row.state in transfers.OPEN_STATES:
        raise NotFoundError(
            f"{row.id} is a file that is still on its way, and not in the inbox yet",
            hint=f"refuse it, or give it up: peerpost transfers reject {row.id}",
        )


def older(db: apsw.Connection, before_ms: int, contact_id: str | None) -> tuple[int, int]:
    """Return how many messages came before a moment, and their bytes."""
    row: Any = db.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM inbox"
        " WHERE received_ms < ?1 AND (?2 IS NULL OR contact_id = ?2)",
        (before_ms, contact_id),
    ).fetchone()
    return int(row[0]), int(row[1])


def delete_older(
    db: apsw.Connection, before_ms: int, contact_id: str | None, limit: int, now_ms: int
) -> list[Deleted]:
    """Delete what came before a moment, oldest first, at most `limit`; none means none is left."""
    rows: Iterable[Any] = db.execute(
        "SELECT id, iif(file_id IS NULL, size, 0) FROM inbox"
        " WHERE received_ms < ?1 AND (?2 IS NULL OR contact_id = ?2)"
        " ORDER BY received_ms, row_id LIMIT ?3",
        (before_ms, contact_id, limit),
    ).fetchall()
    return delete_some(db, rows, now_ms)


def delete_some(db: apsw.Connection, rows: Iterable[tuple[str, int]], now_ms: int) -> list[Deleted]:
    """Delete messages, in the order given, as many as one transaction may: each is (id, bytes of a text)."""
    chosen: list[str] = []
    indexes: set[int | None] = {None}
    bytes_ = 0
    for id_, size in rows:
        bytes_ += size
        indexes.add(grams.index_of(db, id_))
        if chosen and (bytes_ > AT_ONCE_BYTES or len(indexes) > grams.AT_ONCE + 1):
            break
        chosen.append(id_)
    return _delete(db, chosen, now_ms)


def _delete(db: apsw.Connection, chosen: Sequence[str], now_ms: int) -> list[Deleted]:
    deleted: list[Deleted] = []
    for id_ in chosen:
        contact_id, kind, size, file_id, imported = db.execute(
            "SELECT contact_id, iif(foreign_kind IS NULL, kind, 'unknown'), size, file_id,"
            " origin NOTNULL FROM inbox WHERE id = ?",
            (id_,),
        ).fetchone()  # type: ignore[misc]  # It was chosen in this transaction.
        file = None
        if file_id is not None:
            file = transfers.get(db, contact_id, file_id, incoming=True)
            transfers.forget_key(db, contact_id, file_id)
            if imported:
                transfers.forget_deleted(db, contact_id, file_id)
        deleted.append(Deleted(id=id_, contact_id=contact_id, kind=kind, size=size, file=file))
        # Nobody sends an imported message again: there is nothing to remember of it.
        # The row of a file does not have the link of its offer; below what `seen` holds, the transfer serves instead.
        db.execute(
            "INSERT OR REPLACE INTO deleted SELECT contact_id, outbox_id, lane, seq,"
            " coalesce(link, (SELECT link FROM seen WHERE seen.contact_id = inbox.contact_id"
            " AND seen.outbox_id = inbox.outbox_id AND seen.lane = inbox.lane"
            " AND seen.seq = inbox.seq)), sent_ms, file_id, ?2 FROM inbox WHERE id = ?1"
            " AND origin IS NULL",
            (id_, now_ms),
        )
        inbox.remove(db, id_)
    for contact_id in {one.contact_id for one in deleted}:
        _forget(db, contact_id)
    return deleted


def _forget(db: apsw.Connection, contact_id: str) -> None:
    """Forget the oldest deletions of a contact beyond the number that is remembered."""
    count = db.execute("SELECT count(*) FROM deleted WHERE contact_id = ?", (contact_id,)).get
    if count <= REMEMBERED:
        return
    rows: list[Any] = db.execute(
        "SELECT outbox_id, lane, seq, file_id FROM deleted WHERE contact_id = ?"
        " ORDER BY deleted_ms, seq LIMIT ?",
        (contact_id, count - REMEMBERED),
    ).fetchall()
    for *key, file_id in rows:
        db.execute(
            "DELETE FROM deleted WHERE contact_id = ? AND outbox_id = ? AND lane = ? AND seq = ?",
            (contact_id, *key),
        )
        if file_id is not None:
            transfers.forget_deleted(db, contact_id, file_id)


def kept_files(db: apsw.Connection) -> list[transfers.Transfer]:
    """Return the incoming files whose blobs must stay: those that are being received, and those in the inbox."""
    return transfers.select(db, _KEPT)
