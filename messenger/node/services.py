"""What every part of the node shares, handed down instead of reached for."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from peerpost import system
from peerpost.client.config import Config
from peerpost.node.session.rates import RateLimits
from peerpost.store.db.engine import Store

from .duties import Duties
from .events import Events

__all__ = ["Services"]

PROCESSORS = system.processors()
COMPUTED_BYTES = 1 << 20
"""Hashed and enciphered at once on the loop: two milliseconds, four chunks for the lanes of the hash kernel."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The open home: its store, its settings, its events, and threads for file work."""

    home: Path
    store: Store
    config: Config
    events: Events
    threads: ThreadPoolExecutor
    limits: RateLimits
    duties: Duties = field(default_factory=Duties)
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def buckets(self) -> tuple[int, ...] | None:
        """Sizes that envelopes are padded to, or None with padding off."""
        return None if self.config.padding.mode == "off" else tuple(self.config.padding.buckets)

    @property
    def plainly(self) -> bool:
        """Whether received files are to lie plain in a folder of the user's."""
        return self.config.storage.downloads != "off"

    @property
    def computes_here(self) -> bool:
        """Whether to hash and encipher on the loop, for want of processors to spare.

        With two, the loop and the writer of the store need them both, and turns that threads take with the interpreter
        cost more than is gained.
        """
        return PROCESSORS <= 2

    async def computed(self, work: Callable[[slice], T], count: int, item_bytes: int) -> list[T]:
        """Run work that only computes on `count` items of so many bytes; return what comes of each part of them.

        In a thread, all at once, unless it `computes_here`: then a part in each turn of the loop, so that what is
        urgent waits for one at most.
        """
        if not self.computes_here:
            return [await self.in_thread(work, slice(0, count))]
        step = max(1, COMPUTED_BYTES // item_bytes)
        results: list[T] = []
        for at in range(0, count, step):
            async with self._turns:
                await asyncio.sleep(0)
                results.append(work(slice(at, min(at + step, count))))
        return results

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run file work in a thread and return its result."""
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.threads, call)

    async def with_file(
        self, fd: int, work: Callable[Concatenate[int, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run file work in a thread on a descriptor of its own, closed when the work is done; return its result.

        For what came with a request: who asked may leave, and then the request's own is closed while the thread goes
        on. Its number is another file's by then, which would be read or written instead.
        """
        own = os.dup(fd)
        try:
            running = self.threads.submit(work, own, *args, **kwargs)
        except BaseException:
            os.close(own)
            raise
        # Also where it never began.
        running.add_done_callback(lambda _: os.close(own))
        return await asyncio.wrap_future(running)
