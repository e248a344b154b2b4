"""`view.watch`: what a screen shows besides the inbox, as a stream: contacts, what was sent, and files under way.

It is told and not asked for again and again: whoever asks uses the home, and would keep it from locking itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from peerpost.client.rpc import Events, Request
from peerpost.errors import NotFoundError
from peerpost.node.cursors import cursor_of
from peerpost.node.events import LOOK, Event, Subscription
from peerpost.store.tables import outbox as store_outbox
from peerpost.store.tables import transfers as store_transfers

from .contacts import list_ as list_contacts
from .queue import body_text, rows_of_entries
from .transfers import FOLLOW_S, describe

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["watch"]

GATHER_S = 0.1
"""How long changes are gathered: a commit, and what comes of it, changes several things at once."""


async def watch(opened: Opened, request: Request[None]) -> Events:
    """Send what changes, for ever.

    The events are `{"contacts"}`, all of them as `contacts.list` has them, first and whenever one has changed;
    `{"sent"}`, a row of `sent.list` and its `body`, new or changed; `{"transfer"}`, a row of `transfers.list`, as
    `transfers.follow` sends them; and `{"look"}`, when so much has changed that it is not told one by one.
    """
    request.require_no_params()
    return _watch(opened)


async def _watch(opened: Opened) -> AsyncIterator[object]:
    told = _Told(opened)
    with opened.events.subscribe() as events:
        changed: list[Event] = []
        while True:
            async with aclosing(told.news(changed)) as news:
                async for event in news:
                    yield event
            changed = await _changes(events, within_s=FOLLOW_S if told.moving else None)


async def _changes(events: Subscription, *, within_s: float | None) -> list[Event]:
    """Return what happens next, and what comes shortly after it; nothing if nothing happens within that time."""
    found: list[Event] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            found.append(await events.next())
    with suppress(TimeoutError):
        async with asyncio.timeout(GATHER_S):
            while found:
                found.append(await events.next())
    return found


class _Told:
    """What the client was told last, so that it is told only what is new."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._contacts: list[dict[str, Any]] | None = None
        self.moving: dict[str, dict[str, Any]] = {}
        """The files under way."""

    async def news(self, changed: list[Event]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events for what has changed."""
        if LOOK in changed:
            yield {"look": True}
        if changed or self._contacts is None:
            contacts = await list_contacts(self._opened, Request("contacts.list", {}))
            if contacts != self._contacts:
                self._contacts = contacts
                yield {"contacts": contacts}
        for id_ in dict.fromkeys(event.id for event in changed if event.kind == "entry"):
            with suppress(NotFoundError):
                entry = await self._opened.store.read(store_outbox.find, id_)
                (row,) = await rows_of_entries(self._opened, [entry])
                body = body_text(entry.inner)
                yield {"sent": row | {"cursor": cursor_of(entry.row_id), "body": body}}
        async with aclosing(self._transfers(changed)) as transfers:
            async for row in transfers:
                yield {"transfer": row}

    async def _transfers(self, changed: list[Event]) -> AsyncGenerator[dict[str, Any], None]:
        read = self._opened.store.read
        found = {row.id: row for row in await read(store_transfers.list_open)}
        # One that has ended since, or began and ended between two looks, is told of once more.
        ended = {event.id for event in changed if event.kind in ("upload", "download")}
        for id_ in sorted((ended | self.moving.keys()) - found.keys()):
            self.moving.pop(id_, None)
            with suppress(NotFoundError):
                yield await describe(self._opened, await read(store_transfers.find, id_))
        for id_, transfer in found.items():
            row = await describe(self._opened, transfer)
            if self.moving.get(id_) != row:
                self.moving[id_] = row
                yield row
