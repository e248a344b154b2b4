"""What happens in the node, told to whoever waits: a send with --wait, a watcher of the inbox.

Events are hints to look again, never the only record: what they report is in the store before they are published, so a
listener that misses one loses only time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from peerpost.store.tables.outbox import Entry

__all__ = ["Event", "Events", "Subscription"]

_BACKLOG = 1024
"""Events that a slow listener may leave unread. Older ones are dropped; the store still has what they reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    kind: str
    """`entry` (outbox entry changed), `item` (inbox item arrived), `transfer`, `contact`."""
    id: str
    """The id that the command line shows for it."""
    state: str = ""
    entry: Entry | None = None
    """The outbox entry itself, if the publisher has it."""


class Subscription:
    """The events since the subscription began."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_BACKLOG)

    def push(self, event: Event) -> None:
        """Add an event; if the listener is too slow, the oldest is dropped."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(event)

    async def next(self) -> Event:
        """Wait for the next event."""
        return await self._queue.get()


class Events:
    """The node's event bus, on its loop."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[str | None, set[Subscription]] = defaultdict(set)

    def publish(self, kind: str, id_: str, state: str = "", entry: Entry | None = None) -> None:
        """Tell the listeners to everything and the listeners to this id."""
        for key in (None, id_):
            listening = self._subscriptions.get(key)
            if listening:
                event = Event(kind=kind, id=id_, state=state, entry=entry)
                for subscription in listening:
                    subscription.push(event)

    @contextmanager
    def subscribe(self, id_: str | None = None) -> Iterator[Subscription]:
        """Listen for the length of a with block, to everything or to one id."""
        subscription = Subscription()
        self._subscriptions[id_].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[id_].discard(subscription)
            if not self._subscriptions[id_]:
                del self._subscriptions[id_]
