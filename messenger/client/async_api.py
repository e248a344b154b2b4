"""`Client` for programs on asyncio: the same calls, each in a thread, so that the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .api import Client, ContactInfo, InboxMessage, Sent, message_of
from .following import DEFAULT_READER, Following

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """The node of one home. `Client` says what a call does and raises; one that is cancelled may have been done."""

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        reader: str = DEFAULT_READER,
        spawn: bool = True,
    ) -> None:
        """Take a home and the name of a reader, as `Client` does."""
        self._client = Client(home, reader=reader, spawn=spawn)

    async def send(
        self,
        contact: str,
        text: str | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        once: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> Sent:
        """Queue a text or a file, as `Client.send` does."""
        return await asyncio.to_thread(
            self._client.send,
            contact,
            text,
            file=file,
            once=once,
            wait=wait,
            timeout_s=timeout_s,
        )

    async def messages(self, *, after: str | None = None) -> AsyncIterator[InboxMessage]:
        """Yield messages as `Client.messages` does. Whoever leaves the loop early closes it (`aclosing`)."""
        client = self._client
        following = Following(client.home, client.reader, after=after, spawn=client.spawn)
        rows = iter(following)
        # A thread of its own: it waits for as long as nothing comes.
        thread = ThreadPoolExecutor(1, thread_name_prefix="peerpost-messages")
        try:
            while (row := await _in(thread, lambda: next(rows, None))) is not None:
                yield message_of(row)
        finally:
            following.close()
            thread.shutdown(wait=False)

    async def ack(self, message: InboxMessage | str) -> None:
        """Be done with a message and all before it, as `Client.ack`."""
        await asyncio.to_thread(self._client.ack, message)

    async def save(
        self, message: InboxMessage | str, path: str | os.PathLike[str], *, mark: bool = True
    ) -> Path:
        """Write a message's bytes to a new file, as `Client.save`."""
        return await asyncio.to_thread(self._client.save, message, path, mark=mark)

    async def contacts(self) -> list[ContactInfo]:
        """Return the contacts, as `Client.contacts`."""
        return await asyncio.to_thread(self._client.contacts)


async def _in(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)
