"""`queue list|show|retry|cancel` and `sent list|show`: the outbox, what is open in it and all of it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Request
from peerpost.errors import NotFoundError
from peerpost.node.clock import rfc3339
from peerpost.node.contact.standing import obstacle
from peerpost.node.cursors import cursor_of, row_of
from peerpost.node.files.asking import waits_in_words
from peerpost.node.files.upload import Upload
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import entries as store_entries
from peerpost.store.tables import outbox as store_outbox
from peerpost.store.tables import transfers
from peerpost.store.tables.numbered import preview_of, text_of
from peerpost.wire.inner import Lane

from .figures import figures
from .numbers import Cursor, Limit
from .pages import collect
from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = [
    "body_text",
    "cancel",
    "describe",
    "list_",
    "retry",
    "rows_of_entries",
    "sent_list",
    "sent_show",
    "show",
]

_PENDING = ("queued", "sent")


class _List(msgspec.Struct, forbid_unknown_fields=True):
    contact: str | None = None
    limit: Limit | None = None
    after: Cursor | None = None


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: str


async def list_(opened: Opened, request: Request[_List]) -> list[dict[str, Any]]:
    """List what is not delivered yet, oldest first."""
    return await _list(opened, request.params_as(_List), pending=True)


async def sent_list(opened: Opened, request: Request[_List]) -> list[dict[str, Any]]:
    """List what was sent, newest first, with its state."""
    return await _list(opened, request.params_as(_List), pending=False)


async def _list(opened: Opened, params: _List, *, pending: bool) -> list[dict[str, Any]]:
    contact_id = None
    if params.contact is not None:
        contact_id = await opened.store.read(store_contacts.id_of, params.contact)

    async def load(after: str | None, count: int) -> list[dict[str, Any]]:
        entries = await opened.store.read(
            store_entries.list_entries,
            contact_id=contact_id,
            pending=pending,
            limit=count,
            beyond_row_id=row_of(after),
        )
        described = await rows_of_entries(opened, entries)
        return [
            row | {"cursor": cursor_of(e.row_id)} for e, row in zip(entries, described, strict=True)
        ]

    return await collect(load, itemgetter("cursor"), after=params.after, limit=params.limit)


async def show(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Describe one entry by id or its beginning."""
    entry = await opened.store.read(store_outbox.find, request.params_as(_Id).id)
    (described,) = await rows_of_entries(opened, [entry])
    return described


async def retry(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Dial the contact of an entry now, and send even if the contact has asked us to wait."""
    entry = await opened.store.read(store_outbox.find, request.params_as(_Id).id)
    if entry.state not in _PENDING:
        raise NotFoundError(
            f"{entry.id} is {entry.state}: there is nothing to try again",
            hint="see: peerpost queue list",
        )
    peer = opened.network.peers.get(entry.contact_id)
    if peer is not None:
        peer.retry_now()
    moving = opened.transfers.driven(entry.contact_id, entry.file_id, incoming=False)
    if isinstance(moving, Upload):
        moving.retry_now()
    return describe(opened, entry)


async def sent_show(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Describe what was sent by id or its beginning, as `list` does, and with the whole of a text."""
    entry = await opened.store.read(store_outbox.find, request.params_as(_Id).id)
    (described,) = await rows_of_entries(opened, [entry])
    return described | {"body": body_text(entry.inner)}


def body_text(inner: bytes) -> str | None:
    """Return the whole of the text that a message carries; None if it carries none."""
    body = text_of(inner)
    return None if body is None else body.decode()


@whole
async def cancel(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Take back an entry that is not delivered."""
    entry = await opened.store.read(store_outbox.find, request.params_as(_Id).id)
    cancelled = await opened.store.write(store_outbox.cancel, entry.id)
    if entry.file_id is not None:
        await opened.transfers.cancel_outgoing(
            entry.contact_id, entry.file_id, "cancelled by the sender"
        )
    opened.network.poke(entry.contact_id)
    return describe(opened, cancelled)


async def describe_all(
    opened: Opened, entries: Sequence[store_outbox.Entry]
) -> list[dict[str, Any]]:
    """Describe entries. For a file without a driver, the store says why the contact has paused it."""
    files = [(e.contact_id, e.file_id) for e in entries if e.file_id and e.state in _PENDING]
    pauses = await opened.store.read(transfers.peer_pauses, files) if files else {}
    return [describe(opened, e, pauses.get((e.contact_id, e.file_id or b""))) for e in entries]


async def rows_of_entries(
    opened: Opened, entries: Sequence[store_outbox.Entry]
) -> list[dict[str, Any]]:
    """Describe entries, each with a preview by which a person recognises it."""
    rows = await describe_all(opened, entries)
    return [
        row | {"preview": preview_of(entry.inner) or entry.name}
        for entry, row in zip(entries, rows, strict=True)
    ]


def describe(
    opened: Opened, entry: store_outbox.Entry, paused: str | None = None
) -> dict[str, Any]:
    """Return an outbox entry with the keys of the command-line contract.

    `paused` is why the contact has paused its file, as far as the caller knows.
    """
    peer = opened.network.peers.get(entry.contact_id)
    pending = entry.state in _PENDING
    try_s = peer.next_dial_s if peer is not None and pending else None
    stands = obstacle(peer.contact) if peer is not None and pending else None
    last_error = peer.last_error if peer is not None and pending else None
    if stands is not None:
        last_error = stands.why
    moving = opened.transfers.driven(entry.contact_id, entry.file_id, incoming=False)
    if moving is not None and pending:
        paused = moving.peer_pause
    if paused is not None:
        last_error = waits_in_words(paused, opened.network.name_of(entry.contact_id))
    if pending and isinstance(moving, Upload) and moving.trouble is not None:
        try_s, last_error = moving.trouble.next_try_s, f"paused: {moving.trouble.cause}"
    clock = opened.clock
    wait_ms = None if try_s is None else max(0, int((try_s - clock.monotonic_s()) * 1000))
    return {
        "id": entry.id,
        "contact": opened.network.name_of(entry.contact_id),
        "kind": entry.kind,
        "lane": Lane(entry.lane).name.lower(),
        "state": entry.state,
        "name": entry.name,
        "attempts": peer.attempts if peer is not None and pending else 0,
        "next_attempt": None if wait_ms is None else rfc3339(clock.now_ms() + wait_ms),
        "last_error": entry.last_error or last_error,
        "hint": None if stands is None else stands.hint,
        **figures(entry.size, moving),
        "imported": entry.imported,
        "created": rfc3339(entry.created_ms),
        "delivered": rfc3339(entry.delivered_ms),
    }
