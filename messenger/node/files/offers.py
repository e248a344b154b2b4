"""Decides on each file that is offered to us: it is taken, the user is asked, it is refused, or it waits.

An offer is refused only if waiting cannot help. If its contact has no free place, or the disk or the contact's quota
has no room now, it stays `offered` in the store and is looked at again: when a file ends, when a session begins, when
the user has made room, and by a timer while room is short.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from peerpost.errors import StoreFullError
from peerpost.node.tasks import Tasks
from peerpost.store.files.space import check_space
from peerpost.store.tables import contacts, inbox, offers, quota
from peerpost.store.tables import transfers as rows

from .asking import asks_there

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from peerpost.node.services import Services

__all__ = ["Offers"]

log = logging.getLogger(__name__)

PLACES = {False: 32, True: 16}
"""How many incoming files of one contact may be active at once, and how many long texts (True), which do not wait for
files."""
ROOM_RETRY_S = (2.0, 30.0)
"""The first and the longest wait until an offer without room is looked at again."""
LOOKED_AT = 64
"""How many offers are read at once."""


class Offers:
    """The offers of one home."""

    def __init__(
        self,
        services: Services,
        folder: Path,
        *,
        begin: Callable[[rows.Transfer], Awaitable[object]],
        refuse: Callable[[rows.Transfer, str], Awaitable[object]],
        tell: Callable[[rows.Transfer, str], object],
    ) -> None:
        """Prepare. `begin` and `refuse` carry out a decision; `tell` tells the sender why its file waits."""
        self._services = services
        self._folder = folder
        self._begin, self._refuse, self._tell = begin, refuse, tell
        self._looking: dict[str, asyncio.Event] = {}
        self._short: set[str] = set()
        self._told: dict[str, set[str]] = {}
        """By contact: the files of which the contact was told in this session that our user is asked."""
        self._tasks = Tasks()

    @property
    def waiting(self) -> bool:
        """Whether something waits for room."""
        return bool(self._short)

    async def stop(self) -> None:
        """Stop deciding."""
        await self._tasks.stop()

    def look(self, contact_id: str) -> None:
        """Decide soon on what a contact has offered. One decision at a time: two could take the same place."""
        wanted = self._looking.get(contact_id)
        if wanted is not None:
            wanted.set()
            return
        self._looking[contact_id] = asyncio.Event()
        name = f"offers-{contact_id}"
        self._tasks.keep(name, lambda: self._run(contact_id), self._services.duties)

    def session_up(self, contact_id: str) -> None:
        """Decide on what waits, and tell the contact in the new session what our user is asked about."""
        self._told.pop(contact_id, None)
        self.look(contact_id)

    def room_was_made(self) -> None:
        """Look at once at what waits for room, of all contacts: they share the disk."""
        for wanted in self._looking.values():
            wanted.set()

    def forget(self, contact_id: str) -> None:
        """Forget the offers of a contact that was removed."""
        self._short.discard(contact_id)
        self._told.pop(contact_id, None)
        self.look(contact_id)

    async def _run(self, contact_id: str) -> None:
        wanted, (wait_s, longest_s) = self._looking[contact_id], ROOM_RETRY_S
        while True:
            wanted.clear()
            # The contact counts as short of room until the opposite is known: if anything fails here, the timer looks
            # again.
            self._short.add(contact_id)
            if not await self._decide(contact_id):
                self._short.discard(contact_id)
                if not wanted.is_set():
                    del self._looking[contact_id]
                    return
            try:
                async with asyncio.timeout(wait_s):
                    await wanted.wait()
            except TimeoutError:
                wait_s = min(2 * wait_s, longest_s)

    async def _decide(self, contact_id: str) -> bool:
        """Decide on all that can be decided now; return whether some wait for room."""
        store = self._services.store
        if not await store.read(inbox.count_offers, contact_id):
            return False
        accept = await self.policy(contact_id)
        if accept == "never":
            for row in await store.read(offers.unwanted, contact_id):
                await self._refuse(row, "files are not accepted")
        else:
            await self._ask(contact_id, accept if isinstance(accept, int) else None)
        await self._tell_asking(contact_id)
        short = False
        for as_text in (True, False):
            short |= await self._fill(contact_id, accept, as_text=as_text)
        return short

    async def _ask(self, contact_id: str, most_bytes: int | None) -> None:
        """Mark offers larger than that as to be asked about, and smaller ones as not to be."""

        def work(db: apsw.Connection) -> list[str]:
            asked = rows.ask(db, contact_id, most_bytes)
            if most_bytes is not None:
                rows.unask(db, contact_id, most_bytes)
            return asked

        for id_ in await self._services.store.write(work):
            log.info("%s asks to be accepted", id_)

    async def _tell_asking(self, contact_id: str) -> None:
        """Tell the sender which files wait for our user, once in each session."""
        found = await self._services.store.read(offers.asking, contact_id)
        told = self._told.setdefault(contact_id, set())
        told &= {row.id for row in found}
        for row in found:
            if row.id not in told:
                self._tell(row, asks_there(row))
                told.add(row.id)

    async def _fill(self, contact_id: str, accept: int | str, *, as_text: bool) -> bool:
        """Begin the offers that have a place and fit, in their order; return whether one does not fit."""
        store, after, short = self._services.store, 0, False
        under_way = await store.read(offers.under_way, contact_id, as_text=as_text)
        while (free := PLACES[as_text] - under_way) > 0:
            found = await store.read(
                offers.waiting, contact_id, as_text=as_text, after=after, limit=LOOKED_AT
            )
            for number, row in found[:free]:
                after = number
                if await self.begin(row, accept if isinstance(accept, int) else 0):
                    under_way += 1
                else:
                    short = True
            if len(found) <= free and len(found) < LOOKED_AT:
                break
        return short

    async def begin(self, row: rows.Transfer, accept_bytes: int) -> bool:
        """Begin a file if there is room; otherwise it waits, and both sides know why. Return whether it began."""
        cause = await self._lacks(row)
        store = self._services.store
        if cause is None:
            if row.size is None and row.accepted_bytes is None and not row.as_text:
                # If the stream turns out longer than accepted, the user is asked then.
                await store.write(rows.let_come, row.id, accept_bytes)
            await self._begin(row)
            return True
        if row.error != cause or row.state != "offered":
            log.warning("%s has to wait: %s", row.id, cause)
            await store.write(rows.set_state, row.id, "offered", cause)
        self._tell(row, cause)
        return False

    async def _lacks(self, row: rows.Transfer) -> str | None:
        """Return why there is no room for a file now, or None."""
        config = self._services.config.storage
        # Files that were begun before have a claim to the free space.
        promised_bytes = await self._services.store.read(offers.promised_bytes)
        try:
            check_space(
                self._folder, promised_bytes + (row.size or 0), reserve_bytes=config.min_free
            )
        except (StoreFullError, OSError) as error:
            return error.message if isinstance(error, StoreFullError) else str(error)
        room = await self._room_for(row)
        if not room or (row.size or 0) > room:
            return f"the sender's share of this disk is used up: {room} bytes of it are left"
        return None

    async def _room_for(self, row: rows.Transfer) -> int:
        """Return how many bytes the contact's quota still allows, not counting this file."""
        default_bytes = self._services.config.storage.quota
        return await self._services.store.read(
            quota.room, row.contact_id, default_bytes, besides=row.file_id
        )

    async def policy(self, contact_id: str) -> int | str:
        """Return the setting of this contact, or else the general one: bytes, `ask` or `never`."""
        own = (await self._services.store.read(contacts.find, contact_id)).accept
        if own is None:
            return self._services.config.storage.accept
        return int(own) if own.isdecimal() else own
