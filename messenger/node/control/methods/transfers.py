"""`transfers list|show|pause|resume|accept|reject`, and following them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Events, Final, Request
from peerpost.node.clock import rfc3339
from peerpost.node.contact.standing import obstacle
from peerpost.node.files.asking import asked_here, waits, waits_in_words
from peerpost.node.files.download import Download
from peerpost.node.files.upload import Upload
from peerpost.store.tables import contacts, entries, offers
from peerpost.store.tables import transfers as rows

from .figures import figures
from .numbers import Cursor, Limit
from .pages import collect
from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["accept", "asking", "describe", "follow", "list_", "pause", "reject", "resume", "show"]

FOLLOW_S = 0.5
"""How often changes are reported to a follower."""


class _List(msgspec.Struct, forbid_unknown_fields=True):
    limit: Limit | None = None
    after: Cursor | None = None


class _Asking(msgspec.Struct, forbid_unknown_fields=True):
    contact: str | None = None


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class _Follow(msgspec.Struct, forbid_unknown_fields=True):
    id: str | None = None


async def list_(opened: Opened, request: Request[_List]) -> list[dict[str, Any]]:
    """List files that are being transferred or have ended, newest first."""
    params = request.params_as(_List)

    async def load(after: str | None, count: int) -> list[dict[str, Any]]:
        place = None
        if after is not None:
            created_ms, _, id_ = after.partition("-")
            place = int(created_ms), id_
        found = await opened.store.read(rows.list_transfers, count, place)
        return [
            await describe(opened, row) | {"cursor": f"{row.created_ms}-{row.id}"} for row in found
        ]

    return await collect(load, itemgetter("cursor"), after=params.after, limit=params.limit)


async def asking(opened: Opened, request: Request[_Asking]) -> list[dict[str, Any]]:
    """List the files that wait to be accepted here, in the order of their offers."""
    name = request.params_as(_Asking).contact
    contact_id = None if name is None else await opened.store.read(contacts.id_of, name)
    found = await opened.store.read(offers.asking, contact_id)
    return [await describe(opened, row) for row in found]


async def show(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Describe one transfer by id or its beginning."""
    return await describe(opened, await opened.transfers.find(request.params_as(_Id).id))


@whole
async def accept(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Accept a file that was too large to be taken without asking."""
    return await describe(opened, await opened.transfers.accept(request.params_as(_Id).id))


@whole
async def reject(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Refuse a file, or give up one that is being received."""
    return await describe(opened, await opened.transfers.reject(request.params_as(_Id).id))


@whole
async def pause(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Stop a file, in either direction, until it is resumed."""
    return await describe(opened, await opened.transfers.pause(request.params_as(_Id).id))


@whole
async def resume(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Go on with a file that was paused here."""
    row = await opened.transfers.resume(request.params_as(_Id).id)
    opened.network.poke(row.contact_id)
    return await describe(opened, row)


async def follow(opened: Opened, request: Request[_Follow]) -> Events:
    """Yield a transfer whenever it changes, until it has ended; without an id, all that are open."""
    params = request.params_as(_Follow)
    wanted = None if params.id is None else (await opened.transfers.find(params.id)).id
    return _follow(opened, wanted)


async def _follow(opened: Opened, wanted: str | None) -> AsyncIterator[object]:
    told: dict[str, dict[str, Any]] = {}
    while True:
        if wanted is not None:
            found = [await opened.store.read(rows.find, wanted)]
        else:
            found = await opened.store.read(rows.list_open)
            gone = told.keys() - {row.id for row in found}
            found += [await opened.store.read(rows.find, id_) for id_ in sorted(gone)]
        for row in found:
            described = await describe(opened, row)
            ended = row.state not in rows.OPEN_STATES
            if ended and row.id == wanted:
                yield Final(described)
                return
            if told.get(row.id) != described:
                told[row.id] = described
                yield described
            if ended:
                del told[row.id]
        if wanted is None and not told:
            yield Final(None)
            return
        await asyncio.sleep(FOLLOW_S)


async def describe(opened: Opened, row: rows.Transfer) -> dict[str, Any]:
    """Return a transfer with the keys of the command-line contract."""
    moving = opened.transfers.driven(row.contact_id, row.file_id, incoming=row.incoming)
    message = None
    if not row.incoming:
        message = await opened.store.read(entries.id_of_file, row.contact_id, row.file_id)
    state, error = row.state, row.error
    peer_pause = row.peer_pause if moving is None else moving.peer_pause
    if state in ("offered", "active") and peer_pause is not None:
        state, error = waits(peer_pause), peer_pause or "paused by the other side"
        if state == "asking":
            error = waits_in_words(peer_pause, opened.network.name_of(row.contact_id))
    elif state == "asking":
        error = asked_here(row)
    elif state in ("offered", "active") and isinstance(moving, Upload) and moving.trouble:
        state, error = "paused", moving.trouble.cause
    elif state == "active" and isinstance(moving, Download):
        error = moving.row.error
    contact = opened.network.peers.get(row.contact_id)
    if error is None and state in rows.OPEN_STATES and contact is not None:
        stands = obstacle(contact.contact)
        error = None if stands is None else stands.why
    size = row.size if row.finish is None else row.finish.size
    return {
        "id": row.id,
        "message": message,
        "contact": opened.network.name_of(row.contact_id),
        "direction": "in" if row.incoming else "out",
        "name": row.name,
        "directory": row.files is not None,
        "files": row.files,
        "state": state,
        **_figures(row, size, moving if state == "active" or row.state == "paused" else None),
        "error": error,
        "created": rfc3339(row.created_ms),
    }


def _figures(row: rows.Transfer, size: int | None, moving: Any) -> dict[str, Any]:
    if row.state == "done":
        return {**figures(size, None, size), "progress": 1.0}
    return figures(size, moving, row.progress_bytes if row.incoming else None)
