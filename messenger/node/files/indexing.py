"""Keeps the index of the search whole: what was here before it, and long texts, which are read from their files."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

from peerpost.errors import NotFoundError, StorageError, TransientError
from peerpost.store.tables import inbox, indexing
from peerpost.store.tables.grams import Collected
from peerpost.store.tables.searched import HEAD_BYTES, Side

if TYPE_CHECKING:
    from peerpost.node.services import Services

    from .arrived import Arrived

__all__ = ["Indexing"]

log = logging.getLogger(__name__)

PAUSE_SHARE: Final = 1.0
"""How long to rest after each part, as a share of the time that it took: others get half of a processor at least."""
LOOK_S: Final = 10.0
"""How often to look for a long text that has come. A search looks before that."""
WORTH_TELLING: Final = 4
"""More slices than these are those of a home without an index."""
READ_AT_ONCE: Final = 64
"""How many long texts a search waits for."""


class Indexing:
    """The index of one home."""

    def __init__(self, services: Services, arrived: Arrived) -> None:
        self._services = services
        self._arrived = arrived
        self._reading = asyncio.Lock()

    async def follow(self) -> None:
        """Index slices and read long texts as they come, until cancelled. Raises StorageError."""
        store, loop = self._services.store, asyncio.get_running_loop()
        while True:
            while await self.read_long_texts():
                pass
            progress = await store.read(indexing.progress)
            began_s, told = loop.time(), progress.left > WORTH_TELLING
            if told:
                log.info("building the index of the search: %d slices of messages", progress.left)
            while progress.left and (claimed := await store.write_lazily(indexing.claim_next)):
                await self._build(*claimed)
            if told:
                log.info("the index of the search is whole after %.0f s", loop.time() - began_s)
            await asyncio.sleep(LOOK_S)

    async def _build(self, side: Side, slice_: int) -> None:
        """Index one slice. What comes meanwhile does not wait for more than a few milliseconds."""
        loop, store = asyncio.get_running_loop(), self._services.store
        collected = Collected()
        last: int | None = None
        while True:
            from_s = loop.time()
            last = await store.read(indexing.collect, side, slice_, last, collected)
            await asyncio.sleep(PAUSE_SHARE * (loop.time() - from_s))
            if last is None:
                break
        rows = await self._services.in_thread(collected.rows, slice_)
        if not await store.write_lazily(indexing.put, side, slice_, rows):
            log.debug("slice %d of the %s has changed while it was read", slice_, side)

    async def read_long_texts(self) -> bool:
        """Read the beginnings of some texts that came as files into the index; return whether there were any."""
        async with self._reading:
            ids = await self._services.store.read(indexing.unread, READ_AT_ONCE)
            for id_ in ids:
                await self._read(id_)
        return bool(ids)

    async def _read(self, id_: str) -> None:
        store = self._services.store
        with suppress(NotFoundError):  # It was deleted meanwhile.
            item = await store.read(inbox.find, id_)
            try:
                head = await self._head(item)
            except TransientError:
                raise
            except (StorageError, NotFoundError) as error:
                log.warning("%s cannot be searched: %s", id_, error.message)
                head = b""
            await store.write_lazily(indexing.put_head, item.row_id, head)

    async def _head(self, item: inbox.Item) -> bytes:
        """Return the beginning of a text. Raises StorageError if any of it is damaged."""
        pieces = await self._arrived.text(item)
        head = ""
        if pieces is not None:
            async with aclosing(pieces) as texts:
                async for piece in texts:
                    head += piece
                    if len(head) >= HEAD_BYTES:
                        break
        return head.encode()[:HEAD_BYTES].decode(errors="ignore").encode()
