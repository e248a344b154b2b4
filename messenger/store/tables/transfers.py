"""The transfers of files, in and out: what a restart needs to continue them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import apsw

from peerpost.errors import NotFoundError
from peerpost.store.files.names import safe_name
from peerpost.wire.inner import Finish, Message, Offer, mode_in

from . import ids
from .states import OPEN_STATES, TRANSFER_BEFORE, TRANSFER_OPEN

__all__ = [
    "OPEN_STATES",
    "STREAM_SOURCE",
    "Transfer",
    "activate",
    "add_imported",
    "add_incoming",
    "add_outgoing",
    "ask",
    "checkpoint",
    "complete",
    "cut_streams",
    "end",
    "end_outgoing",
    "find",
    "finish",
    "forget_contact",
    "forget_deleted",
    "forget_key",
    "forget_names",
    "get",
    "let_come",
    "list_open",
    "list_transfers",
    "of_contact",
    "peer_pauses",
    "select",
    "set_peer_pause",
    "set_state",
    "stream_ended",
    "told",
    "unask",
    "untold",
]

STREAM_SOURCE = '{"stream": true}'
"""`source` of an outgoing file whose end has not been read yet."""
_COMING = "contact_id = ? AND incoming = 1"
FORGOTTEN = "forgotten"
"""The error of a transfer that was forgotten with the history of its contact: only its ids are left."""
_COLUMNS = (
    "file_id, incoming, id, contact_id, state, name, as_text, size, chunk_log2, key, finish_size,"
    " finish_count, finish_root, have, progress_bytes, source, outbox_id, lane, seq, sent_ms,"
    " error, created_ms, content_id, peer_pause, files, accepted_bytes, mode, mtime_s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One file that is being transferred or has ended."""

    file_id: bytes
    incoming: bool
    id: str
    contact_id: str
    state: str
    """offered, asking, active, paused, done, failed or cancelled."""
    name: str
    as_text: bool
    size: int | None
    chunk_log2: int
    key: bytes = field(repr=False)
    finish_size: int | None
    finish_count: int | None
    finish_root: bytes | None
    have: bytes
    """Bitmap of the chunks on disk; a hint."""
    progress_bytes: int
    source: str | None
    """For an outgoing file: the reference as JSON; None for one in the spool."""
    outbox_id: bytes | None
    lane: int | None
    seq: int | None
    sent_ms: int | None
    error: str | None
    created_ms: int
    content_id: bytes | None
    """For an outgoing file from the spool: its content, which several transfers may share."""
    peer_pause: str | None
    """Why the peer has paused, while it has."""
    files: int | None
    """Of a folder: how many files are in it, as its sender says; None for a plain file."""
    accepted_bytes: int | None
    """Of an incoming file of unknown size: how long it may be; None for any length."""
    mode: int | None
    """For an incoming file: its rights (0o777) on the sender's machine; None if the sender did not say."""
    mtime_s: int | None
    """Of an incoming file: when it was last changed, as its sender says."""

    @property
    def shown_name(self) -> str:
        """The name of a received file, made safe; empty for a long text."""
        return "" if self.as_text else safe_name(self.name)

    @property
    def finish(self) -> Finish | None:
        """Size, count and root, where they are known."""
        if self.finish_size is None or self.finish_count is None or self.finish_root is None:
            return None
        return Finish(
            file_id=self.file_id,
            size=self.finish_size,
            count=self.finish_count,
            root=self.finish_root,
        )


def _transfer(row: tuple[object, ...]) -> Transfer:
    values = dict(zip(Transfer.__slots__, row, strict=True))
    values["incoming"], values["as_text"] = bool(values["incoming"]), bool(values["as_text"])
    return Transfer(**values)  # type: ignore[arg-type]


def add_outgoing(
    db: apsw.Connection,
    *,
    contact_id: str,
    file_id: bytes,
    key: bytes,
    chunk_log2: int,
    name: str,
    as_text: bool,
    size: int | None,
    finish: Finish | None,
    source: str | None,
    now_ms: int,
    content_id: bytes | None = None,
    files: int | None = None,
) -> None:
    """Record a file to send; the caller queues its offer in the same transaction."""
    db.execute(
        "INSERT INTO transfers (file_id, incoming, id, contact_id, state, name, as_text, size,"
        " chunk_log2, key, finish_size, finish_count, finish_root, source, created_ms,"
        " content_id, files) VALUES (?, 0, ?, ?, 'offered', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            file_id,
            ids.new_id(db, "transfers"),
            contact_id,
            name,
            as_text,
            size,
            chunk_log2,
            key,
            None if finish is None else finish.size,
            None if finish is None else finish.count,
            None if finish is None else finish.root,
            source,
            now_ms,
            content_id,
            files,
        ),
    )


def add_incoming(
    db: apsw.Connection,
    contact_id: str,
    message: Message,
    offer: Offer,
    *,
    name: str,
    as_text: bool,
    files: int | None,
    now_ms: int,
) -> bool:
    """Note a file that is offered by a message; return False if it was offered before."""
    db.execute(
        "INSERT OR IGNORE INTO transfers (file_id, incoming, id, contact_id, state, name,"
        " as_text, size, chunk_log2, key, outbox_id, lane, seq, sent_ms, created_ms, files, mode,"
        " mtime_s) VALUES (?, 1, ?, ?, 'offered', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            offer.file_id,
            ids.new_id(db, "transfers"),
            contact_id,
            name,
            as_text,
            offer.size,
            offer.chunk_log2,
            offer.key,
            message.outbox_id,
            message.lane,
            message.seq,
            message.sent_at_ms,
            now_ms,
            files,
            mode_in(offer),
            offer.mtime_s,
        ),
    )
    return db.changes() > 0


def add_imported(db: apsw.Connection, row: Transfer, contact_id: str) -> None:
    """Add a file that was imported and lies in the home as one that has come, for a contact."""
    values = {name: getattr(row, name) for name in Transfer.__slots__} | {"contact_id": contact_id}
    db.execute(
        f"INSERT INTO transfers ({_COLUMNS}, imported, told)"  # noqa: S608
        f" VALUES ({', '.join('?' * len(values))}, 1, 1)",
        tuple(values.values()),
    )


def get(db: apsw.Connection, contact_id: str, file_id: bytes, *, incoming: bool) -> Transfer | None:
    """Return the transfer of a file with a contact, or None."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM transfers WHERE contact_id = ? AND file_id = ? AND incoming = ?",  # noqa: S608
        (contact_id, file_id, incoming),
    ).fetchone()
    return None if row is None else _transfer(row)


def find(db: apsw.Connection, prefix: str) -> Transfer:
    """Return the transfer whose id begins so. Raises NotFoundError, AmbiguousError."""
    id_ = ids.complete(db, "transfers", prefix, what="transfer", see="transfers list")
    row = db.execute(f"SELECT {_COLUMNS} FROM transfers WHERE id = ?", (id_,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFoundError("the transfer is gone")
    return _transfer(row)


def select(db: apsw.Connection, where: str, values: tuple[object, ...] = ()) -> list[Transfer]:
    """Return the transfers that fulfil a condition, in the order of their rows."""
    query = f"SELECT {_COLUMNS} FROM transfers WHERE {where} ORDER BY rowid"  # noqa: S608
    return [_transfer(row) for row in db.execute(query, values)]


def of_contact(db: apsw.Connection, contact_id: str) -> list[Transfer]:
    """Return the open transfers with a contact, oldest first."""
    return select(db, f"contact_id = ? AND {TRANSFER_OPEN}", (contact_id,))


def list_transfers(
    db: apsw.Connection, limit: int, after: tuple[int, str] | None = None
) -> list[Transfer]:
    """Return transfers, newest first; to continue a list, those that follow (created_ms, id)."""
    created_ms, id_ = (None, "") if after is None else after
    return [
        _transfer(row)
        for row in db.execute(
            f"SELECT {_COLUMNS} FROM transfers WHERE error IS NOT ?4"  # noqa: S608
            " AND (?2 IS NULL OR created_ms < ?2 OR (created_ms = ?2 AND id > ?3))"
            " ORDER BY created_ms DESC, id LIMIT ?1",
            (limit, created_ms, id_, FORGOTTEN),
        )
    ]


def list_open(db: apsw.Connection) -> list[Transfer]:
    """Return what has not ended, oldest first."""
    query = f"SELECT {_COLUMNS} FROM transfers WHERE {TRANSFER_OPEN} ORDER BY created_ms, id"  # noqa: S608
    return [_transfer(row) for row in db.execute(query)]


def set_state(
    db: apsw.Connection, transfer_id: str, state: str, error: str | None = None
) -> Transfer:
    """Move a transfer to another state, if that may follow; an end is final. Return it as it is now."""
    db.execute(
        f"UPDATE transfers SET state = ?, error = ? WHERE id = ? AND {TRANSFER_BEFORE[state]}",  # noqa: S608
        (state, error, transfer_id),
    )
    return find(db, transfer_id)


def activate(db: apsw.Connection, transfer_id: str) -> None:
    """Note that the receiver has begun to ask for an outgoing file."""
    db.execute(
        "UPDATE transfers SET state = 'active' WHERE id = ? AND state = 'offered'", (transfer_id,)
    )


def set_peer_pause(db: apsw.Connection, transfer_id: str, reason: str | None) -> None:
    """Note that the peer has paused, or that it goes on (None)."""
    db.execute("UPDATE transfers SET peer_pause = ? WHERE id = ?", (reason, transfer_id))


def peer_pauses(
    db: apsw.Connection, files: Iterable[tuple[str, bytes]]
) -> dict[tuple[str, bytes], str]:
    """Return why the peer has paused files that we send; `files` are (contact id, file id) each."""
    query = "SELECT peer_pause FROM transfers WHERE contact_id = ? AND file_id = ? AND incoming = 0"
    found = {file: db.execute(query, file).get for file in files}
    return {file: why for file, why in found.items() if why is not None}


def end(
    db: apsw.Connection, transfer_id: str, state: str, error: str, *, peer_knows: bool
) -> Transfer:
    """End a transfer that did not succeed; a peer that does not know yet is told in its next session."""
    db.execute(
        f"UPDATE transfers SET told = ? WHERE id = ? AND {TRANSFER_OPEN}",  # noqa: S608
        (peer_knows, transfer_id),
    )
    return set_state(db, transfer_id, state, error)


def end_outgoing(
    db: apsw.Connection,
    contact_id: str,
    file_id: bytes,
    state: str,
    error: str | None,
    *,
    peer_knows: bool = False,
) -> None:
    """End a file that we send, unless it has ended. The outbox calls this when it ends the entry."""
    row = get(db, contact_id, file_id, incoming=False)
    if row is not None and row.state in OPEN_STATES:
        db.execute("UPDATE transfers SET told = ? WHERE id = ?", (peer_knows, row.id))
        set_state(db, row.id, state, error)


def untold(db: apsw.Connection, contact_id: str) -> list[Transfer]:
    """Return the transfers that ended without the contact's knowing."""
    return select(db, "contact_id = ? AND told = 0", (contact_id,))


def told(db: apsw.Connection, transfer_ids: Iterable[str]) -> None:
    """Note that the peer has been told of the ends."""
    db.executemany("UPDATE transfers SET told = 1 WHERE id = ?", [(id_,) for id_ in transfer_ids])


def let_come(db: apsw.Connection, transfer_id: str, accepted_bytes: int | None) -> None:
    """Record how long an incoming file of unknown size may be; None means any length."""
    db.execute(
        "UPDATE transfers SET accepted_bytes = ? WHERE id = ?", (accepted_bytes, transfer_id)
    )


def cut_streams(db: apsw.Connection) -> list[Transfer]:
    """Return the outgoing streams whose source was being read when the node ended."""
    return select(db, f"incoming = 0 AND {TRANSFER_OPEN} AND source = ?", (STREAM_SOURCE,))


def stream_ended(db: apsw.Connection, transfer_id: str, end: Finish, content_id: bytes) -> Transfer:
    """Note that a stream has ended and that the spool has all of it. The caller must note the size in its entry."""
    finish(db, transfer_id, end)
    db.execute(
        "UPDATE transfers SET source = NULL, content_id = ? WHERE id = ?", (content_id, transfer_id)
    )
    return find(db, transfer_id)


def finish(db: apsw.Connection, transfer_id: str, end: Finish) -> None:
    """Store size, count and root."""
    db.execute(
        "UPDATE transfers SET finish_size = ?, finish_count = ?, finish_root = ? WHERE id = ?",
        (end.size, end.count, end.root, transfer_id),
    )


def checkpoint(
    db: apsw.Connection,
    transfer_id: str,
    have: bytes,
    progress_bytes: int,
    end: Finish | None,
) -> None:
    """Record the progress of an incoming file; the data is on the disk already.

    If the file has ended meanwhile, this changes nothing.
    """
    db.execute(
        f"UPDATE transfers SET have = ?, progress_bytes = ? WHERE id = ? AND {TRANSFER_OPEN}",  # noqa: S608
        (have, progress_bytes, transfer_id),
    )
    if end is not None and db.changes():
        finish(db, transfer_id, end)


def complete(db: apsw.Connection, transfer_id: str, end: Finish) -> Transfer | None:
    """End an incoming file that is whole, or return None if it had ended. The caller must add it to the inbox."""
    transfer = find(db, transfer_id)
    if transfer.state not in OPEN_STATES:
        return None
    finish(db, transfer_id, end)
    db.execute(
        "UPDATE transfers SET state = 'done', progress_bytes = ?, have = x'', error = NULL"
        " WHERE id = ?",
        (end.size, transfer_id),
    )
    return transfer


def forget_key(db: apsw.Connection, contact_id: str, file_id: bytes) -> None:
    """Forget the key of an incoming file, so that nobody can read what the disk may still have of its blob."""
    db.execute(
        "UPDATE transfers SET key = x'' WHERE contact_id = ? AND file_id = ? AND incoming = 1",
        (contact_id, file_id),
    )


def forget_deleted(db: apsw.Connection, contact_id: str, file_id: bytes) -> None:
    """Forget an incoming file whose key is forgotten."""
    db.execute(
        "DELETE FROM transfers WHERE contact_id = ? AND file_id = ? AND incoming = 1"
        " AND length(key) = 0",
        (contact_id, file_id),
    )


def forget_contact(db: apsw.Connection, contact_id: str) -> None:
    """Forget the transfers with a contact, except files that have come: without their keys nobody could read them."""
    db.execute(
        "DELETE FROM transfers WHERE contact_id = ? AND NOT (incoming AND state = 'done')",
        (contact_id,),
    )


def forget_names(db: apsw.Connection, contact_id: str) -> None:
    """Forget the names of the files of a contact: the user wants the history with it gone."""
    db.execute(
        "UPDATE transfers SET name = '', error = ? WHERE contact_id = ?", (FORGOTTEN, contact_id)
    )


def ask(db: apsw.Connection, contact_id: str, accept_bytes: int | None) -> list[str]:
    """Mark each file larger than `accept_bytes` (None: every file) to be asked about; return their ids."""
    rows = db.execute(
        f"UPDATE transfers SET state = 'asking', error = NULL WHERE {_COMING}"  # noqa: S608
        " AND state = 'offered' AND as_text = 0 AND accepted_bytes IS NULL"
        " AND (?2 IS NULL OR coalesce(size, 0) > ?2) RETURNING id",
        (contact_id, accept_bytes),
    )
    return [str(row[0]) for row in rows]


def unask(db: apsw.Connection, contact_id: str, accept_bytes: int) -> None:
    """Withdraw the question about files that may be taken without one now: they wait for their turn.

    A stream that was longer than accepted goes on if more is accepted now.
    """
    db.execute(
        "UPDATE transfers SET state = 'offered', error = NULL, accepted_bytes = NULL"  # noqa: S608
        f" WHERE {_COMING} AND state = 'asking' AND CASE WHEN coalesce(finish_size, size) IS NULL"
        " THEN coalesce(accepted_bytes, -1) < ?2 ELSE coalesce(finish_size, size) <= ?2 END",
        (contact_id, accept_bytes),
    )
