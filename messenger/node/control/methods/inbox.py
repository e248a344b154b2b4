"""`inbox list|show|save|delete|mark`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Answer, Final, InvalidParamsError, Request
from peerpost.errors import StorageError
from peerpost.node.clock import rfc3339
from peerpost.node.cursors import row_of
from peerpost.node.described import described
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import deletion
from peerpost.store.tables import inbox as store_inbox
from peerpost.store.tables import transfers as store_transfers

from .numbers import Cursor, Limit, TimeMs
from .pages import collect

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["delete", "list_", "mark", "older", "peek", "read", "row_of_item", "save", "show"]

log = logging.getLogger(__name__)


class _List(msgspec.Struct, forbid_unknown_fields=True):
    contact: str | None = None
    unread: bool = False
    limit: Limit | None = None
    since: TimeMs | None = None
    after: Cursor | None = None
    oldest: bool = False


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    peek: bool = False
    """Whether to leave it unread."""


class _Save(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    mark: bool = True
    """Whether to mark it as read. A caller for which the written bytes may still be lost says no."""


class _Ids(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str]
    unread: bool = False


class _Delete(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str] | None = None
    before: TimeMs | None = None
    contact: str | None = None
    limit: Limit | None = None


class _Older(msgspec.Struct, forbid_unknown_fields=True):
    before: TimeMs
    contact: str | None = None


async def list_(opened: Opened, request: Request[_List]) -> list[dict[str, Any]]:
    """List what was received, newest first or `oldest` first: all, or `limit` rows after the cursor `after`."""
    params = request.params_as(_List)
    contact_id = await _contact_id(opened, params.contact)

    async def load(after: str | None, count: int) -> list[dict[str, Any]]:
        items = await opened.store.read(
            store_inbox.list_items,
            contact_id=contact_id,
            unread=params.unread,
            limit=count,
            since_ms=params.since,
            beyond_row_id=row_of(after),
            oldest=params.oldest,
        )
        return [row_of_item(opened, item) for item in items]

    return await collect(load, itemgetter("cursor"), after=params.after, limit=params.limit)


async def _contact_id(opened: Opened, name: str | None) -> str | None:
    return None if name is None else await opened.store.read(store_contacts.id_of, name)


def _contact_name(opened: Opened, contact_id: str) -> str:
    """Return the present or former name of a contact, or its id if no name is known any more."""
    return opened.network.name_of(contact_id) or contact_id


def row_of_item(opened: Opened, item: store_inbox.Item) -> dict[str, Any]:
    """Describe a message as `inbox list` does."""
    return described(item, opened.network.name_of(item.contact_id))


async def peek(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Describe one message as `list` does, and the attributes of its file; leave it unread."""
    item = await opened.store.read(store_inbox.find, request.params_as(_Id).id)
    return row_of_item(opened, item) | await _traits(opened, item)


async def _traits(opened: Opened, item: store_inbox.Item) -> dict[str, Any]:
    """Return the attributes that a file had on the sender's machine, as the sender says."""
    file = None
    if item.file_id is not None:
        file = await opened.store.read(
            store_transfers.get, item.contact_id, item.file_id, incoming=True
        )
    if file is None:
        return {"mode": None, "modified_at": None}
    modified_ms = None if file.mtime_s is None else file.mtime_s * 1000
    mode = None if file.mode is None else f"{file.mode:04o}"
    return {"mode": mode, "modified_at": rfc3339(modified_ms)}


async def show(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Show one message (the whole of a text), and mark it as read unless `peek`. `save` writes a file's bytes."""
    params = request.params_as(_Id)
    item = await opened.store.read(store_inbox.find, params.id)
    return await _show(opened, item, peek=params.peek)


async def read(opened: Opened, request: Request[_Id]) -> Answer:
    """Do as `show` does, but send a long text in events: `{"item"}` first, then `{"text"}` as often as it takes.

    It is a method of its own because a client repeats a `show` that was not answered. This one must not be repeated:
    part of the text may have been printed already.
    """
    params = request.params_as(_Id)
    item = await opened.store.read(store_inbox.find, params.id)
    pieces = None if item.file_id is None else await opened.transfers.arrived.text(item)
    if pieces is None:
        return await _show(opened, item, peek=params.peek)
    return _tell(opened, item, pieces, peek=params.peek)


async def _tell(
    opened: Opened, item: store_inbox.Item, pieces: AsyncGenerator[str, None], *, peek: bool
) -> AsyncIterator[object]:
    shown = row_of_item(opened, item)
    async with aclosing(pieces) as texts:
        # Nothing is sent before the whole text was checked.
        text = await anext(texts, None)
        yield {"item": shown}
        while text is not None:
            yield {"text": text}
            text = await anext(texts, None)
    if not peek:
        await _mark_read(opened, item)
    yield Final(shown)


async def _show(opened: Opened, item: store_inbox.Item, *, peek: bool) -> dict[str, Any]:
    shown = row_of_item(opened, item)
    if item.file_id is not None:
        shown |= await opened.transfers.arrived.describe(item)
    else:
        shown["body"] = None if item.body is None else item.body.decode()
    if not peek:
        await _mark_read(opened, item)
    return shown


async def _mark_read(opened: Opened, item: store_inbox.Item) -> None:
    """Record that a message was read. If that is not possible, it stays unread and is shown all the same."""
    if not item.unread:
        return
    try:
        await opened.store.write(store_inbox.mark, [item.id], unread=False)
    except StorageError as error:
        log.warning("%s stays unread: %s", item.id, error.message)


async def save(opened: Opened, request: Request[_Save]) -> dict[str, Any]:
    """Write one message's bytes, as they were sent, to the file that came with the request."""
    params = request.params_as(_Save)
    item = await opened.store.read(store_inbox.find, params.id)
    digest = await opened.transfers.arrived.save(item, request.fd(0, writes=True))
    if params.mark:
        await _mark_read(opened, item)
    return {
        "id": item.id,
        "name": item.name,
        "size": item.size,
        "blake2b": digest,
        "directory": item.files is not None,
        "files": item.files,
        **await _traits(opened, item),
    }


async def delete(opened: Opened, request: Request[_Delete]) -> list[dict[str, Any]]:
    """Delete messages and their files on the disk: either `ids`, all or none, or those that came `before` a moment.

    The latter are deleted oldest first, at most `limit`; if fewer were deleted, none is left.
    """
    params = request.params_as(_Delete)
    contact_id = await _contact_id(opened, params.contact)
    if (params.ids is None) == (params.before is None):
        raise InvalidParamsError("inbox.delete: either `ids` or `before`")
    arrived = opened.transfers.arrived
    if params.before is None:
        gone = await arrived.delete(params.ids or [], contact_id)
    else:
        gone = await arrived.delete_older(params.before, contact_id, params.limit)
    return [
        {
            "id": one.id,
            "contact": _contact_name(opened, one.contact_id),
            "kind": one.kind,
            "size": one.size,
        }
        for one in gone
    ]


async def older(opened: Opened, request: Request[_Older]) -> dict[str, Any]:
    """Return how many messages came `before` a moment, and their bytes: what `delete` would delete."""
    params = request.params_as(_Older)
    contact_id = await _contact_id(opened, params.contact)
    count, size = await opened.store.read(deletion.older, params.before, contact_id)
    return {"count": count, "size": size}


async def mark(opened: Opened, request: Request[_Ids]) -> list[dict[str, Any]]:
    """Mark messages as read, or as unread."""
    params = request.params_as(_Ids)
    items = [await opened.store.read(store_inbox.find, id_) for id_ in params.ids]
    await opened.store.write(store_inbox.mark, [item.id for item in items], unread=params.unread)
    return [{"id": item.id, "unread": params.unread} for item in items]
