"""What happens in the node, told to whoever waits: a send with --wait, a writer of downloads.

The journal of the store is the record of it. After each commit the store hands over the new rows, and these are the
only source of events, except for who is online, which is recorded nowhere. An event is a hint to look again, so a
listener that misses one loses only time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from peerpost.store.db.engine import Store
from peerpost.store.db.journal import Transition

__all__ = ["LOOK", "LOOK_AGAIN_S", "Event", "Events", "Subscription", "changed", "coming"]

LOOK_AGAIN_S = 60.0
"""How often whoever follows the inbox looks without being told of anything."""
_BACKLOG = 1024
"""Events that a slow listener may leave unread. If there are more, a single event replaces all of them: LOOK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    kind: str
    """As in the journal; `presence` of a contact that came or went."""
    id: str
    """The id that the command line shows for it."""
    state: str | None = None
    """Its state now; None if it was deleted."""
    what: str | None = None
    """What has changed besides the state."""
    at_ms: int = 0
    """When it changed; 0 for an event that is not in the journal."""


LOOK = Event(kind="", id="")
"""Some events were not told one by one: look at everything again."""


class Subscription:
    """The events since the subscription began."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_BACKLOG)

    def push(self, event: Event) -> None:
        """Add an event; if the listener is too slow, LOOK takes the place of those it has not read."""
        if self._queue.full():
            self.clear()
            event = LOOK
        self._queue.put_nowait(event)

    def clear(self) -> None:
        """Forget what was told: whoever reads the store next sees all of it."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def next(self) -> Event:
        """Wait for the next event."""
        return await self._queue.get()


async def coming(events: Subscription) -> None:
    """Wait until a message may have come into the inbox."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_AGAIN_S):
            while True:
                event = await events.next()
                if event is LOOK or (event.kind == "item" and event.state is not None):
                    return


async def changed(events: Subscription) -> None:
    """Wait until something may have come into the journal."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_AGAIN_S):
            while (await events.next()).kind == "presence":
                pass


class Events:
    """The node's event bus, on its loop."""

    def __init__(self, store: Store) -> None:
        """Publish what the store commits from now on."""
        self._subscriptions: defaultdict[str | None, set[Subscription]] = defaultdict(set)
        store.follower.followed = lambda: bool(self._subscriptions)
        store.follower.tell = self._committed

    def presence(self, contact_id: str, state: str) -> None:
        """Tell that a contact is `online` or `offline`."""
        self._publish(Event(kind="presence", id=contact_id, state=state))

    def _committed(self, changes: Sequence[Transition] | None) -> None:
        if not self._subscriptions:
            return
        if changes is None:
            # Somebody began to listen while the commit was under way, or it changed too much to be told.
            for listening in self._subscriptions.values():
                for subscription in listening:
                    subscription.push(LOOK)
            return
        for change in changes:
            self._publish(
                Event(
                    kind=change.kind,
                    id=change.subject,
                    state=change.after,
                    what=change.what,
                    at_ms=change.at_ms,
                )
            )

    def _publish(self, event: Event) -> None:
        """Tell the listeners to everything and the listeners to this id."""
        for key in (None, event.id):
            for subscription in self._subscriptions.get(key, ()):
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
