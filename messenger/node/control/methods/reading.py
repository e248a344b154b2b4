"""`inbox watch|ack|readers`: the inbox as a stream, for bots.

A reader is sent what it has not acknowledged, and then each message as it comes. All of it is read from the inbox; the
journal only says when to look again. So a reader can be away for as long as it likes and misses nothing that is still
in the inbox. What is read ahead for one that is slow is bounded (`inbox.following`), and then the node waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from peerpost.client.rpc import INBOX_CURSOR, READER, Events, Request
from peerpost.errors import NotFoundError, StorageError, TransientError
from peerpost.node.clock import rfc3339
from peerpost.node.events import coming
from peerpost.store.tables import inbox as store_inbox
from peerpost.store.tables import readers

from .inbox import row_of_item

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["acknowledge", "list_", "remove", "watch"]

FRESH_S = 1.0
"""How long what was read ahead is sent without another look at whether it is still there."""

_Cursor = Annotated[
    str, msgspec.Meta(pattern=rf"^{INBOX_CURSOR}\Z", description="The `cursor` of a message.")
]
_Name = Annotated[
    str, msgspec.Meta(max_length=64, pattern=rf"^{READER}\Z", description="Who reads the inbox.")
]


class _Watch(msgspec.Struct, forbid_unknown_fields=True):
    reader: _Name
    after: _Cursor | None = None


class _Acknowledge(msgspec.Struct, forbid_unknown_fields=True):
    reader: _Name
    cursor: _Cursor | None = None
    """Without one, all that is in the inbox now."""


class _Remove(msgspec.Struct, forbid_unknown_fields=True):
    reader: _Name


async def watch(opened: Opened, request: Request[_Watch]) -> Events:
    """Send what a reader has not acknowledged, or what comes after a cursor, and go on for ever.

    The events are `{"after"}` first, with the cursor at which it begins; `{"item"}` for each message, with the body of
    a text; for a long text `{"long", "text"}` instead, then `{"text"}` as often as it takes, then `{"end"}`; and
    `{"deleted"}`, how many messages were deleted before they could be sent.
    """
    params = request.params_as(_Watch)
    reader = await opened.store.read(readers.find, params.reader)
    last = await opened.store.read(readers.newest)
    after = reader.row_id if params.after is None else int(params.after)
    if after > last:
        raise readers.beyond(after, last)
    # What is deleted concerns a reader that has a place. One that begins at the beginning is told of nothing that was
    # deleted before it began.
    return _watch(opened, after, untold=after or last)


async def _watch(opened: Opened, after: int, *, untold: int) -> AsyncIterator[object]:
    """Yield the events; what was deleted up to the row `untold` is not told of."""
    with opened.events.subscribe() as events:
        yield {"after": str(after)}
        while True:
            items = await opened.store.read(store_inbox.following, after)
            read_s = opened.clock.monotonic_s()
            for item in items:
                deleted = item.row_id - 1 - max(after, untold)
                if deleted > 0:
                    yield {"deleted": deleted}
                async with aclosing(_told(opened, item)) as told:
                    async for event in told:
                        yield event
                after = item.row_id
                if opened.clock.monotonic_s() - read_s > FRESH_S:
                    # The reader is slow, and what else was read may have been deleted by now.
                    break
            if not items:
                await coming(events)


async def _told(opened: Opened, item: store_inbox.Item) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events that tell of a message; none if it was deleted meanwhile."""
    shown = row_of_item(opened, item) | {"body": None, "error": None}
    if item.body is not None:
        shown["body"] = item.body.decode()
    begun = False
    try:
        if item.file_id is not None and item.kind == "text":
            async with aclosing(_long_text(opened, item)) as texts:
                async for text in texts:
                    yield {"text": text} if begun else {"long": shown, "text": text}
                    begun = True
    except NotFoundError:
        return
    except TransientError:
        raise
    except StorageError as error:
        # Its bytes are damaged for good: what comes after it must not wait for it.
        shown["error"] = error.message
    yield {"end": True} if begun else {"item": shown}


async def _long_text(opened: Opened, item: store_inbox.Item) -> AsyncGenerator[str, None]:
    """Yield the pieces of a text that came as a file; none if it is too long to be one, and stays a file."""
    pieces = await opened.transfers.arrived.text(item)
    if pieces is not None:
        async with aclosing(pieces) as texts:
            async for text in texts:
                yield text


async def acknowledge(opened: Opened, request: Request[_Acknowledge]) -> dict[str, Any]:
    """Record that a reader is done with all messages up to a cursor. It never goes back."""
    params = request.params_as(_Acknowledge)
    row_id = None if params.cursor is None else int(params.cursor)
    now_ms = opened.clock.now_ms()
    return _row(await opened.store.write(readers.acknowledge, params.reader, row_id, now_ms))


async def list_(opened: Opened, request: Request[None]) -> list[dict[str, Any]]:
    """List the readers that have acknowledged something, each with how many messages wait for it."""
    request.require_no_params()
    found = await opened.store.read(readers.list_all)
    return [_row(reader) | {"waiting": reader.waiting} for reader in found]


async def remove(opened: Opened, request: Request[_Remove]) -> dict[str, Any]:
    """Forget a reader: under its name somebody begins at the beginning of the inbox."""
    return _row(await opened.store.write(readers.remove, request.params_as(_Remove).reader))


def _row(reader: readers.Reader) -> dict[str, Any]:
    at_ms = reader.acknowledged_ms
    return {
        "reader": reader.name,
        "cursor": str(reader.row_id),
        "acknowledged_at": None if at_ms is None else rfc3339(at_ms),
    }
