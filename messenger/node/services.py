"""What every part of the node shares; it is passed as an argument, so there are no globals."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from peerpost.client.config import Config
from peerpost.node.session.rates import RateLimits
from peerpost.store.db.engine import Store
from peerpost.system.processes import processors

from .clock import SYSTEM, Clock
from .deriving import Deriving
from .duties import Duties
from .events import Events
from .settings import Settings

__all__ = ["Services"]

PROCESSORS = processors()
COMPUTED_BYTES = 1 << 20
"""How much is hashed and encrypted in one turn of the loop. It takes two milliseconds, and is four chunks, which the
hash kernel processes in parallel."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The open home: its store, its settings, its events, and threads for file work."""

    home: Path
    store: Store
    settings: Settings
    events: Events
    threads: ThreadPoolExecutor
    limits: RateLimits
    duties: Duties = field(default_factory=Duties)
    clock: Clock = SYSTEM
    """That of the limits and of the duties too."""
    deriving: Deriving = field(default_factory=Deriving)
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def config(self) -> Config:
        """The settings in force now; they may be others after the next turn of the loop."""
        return self.settings.now

    @property
    def buckets(self) -> tuple[int, ...] | None:
        """Sizes that envelopes are padded to, or None with padding off."""
        return None if self.config.padding.mode == "off" else tuple(self.config.padding.buckets)

    @property
    def plainly(self) -> bool:
        """Whether received files are written plain to a folder of the user."""
        return self.config.storage.downloads != "off"

    @property
    def computes_here(self) -> bool:
        """Whether to hash and encrypt on the loop, because there are no processors to spare.

        With two processors, the loop and the store's writer need both, and threads that compete for the interpreter
        cost more than they gain.
        """
        return PROCESSORS <= 2

    async def computed(self, work: Callable[[slice], T], count: int, item_bytes: int) -> list[T]:
        """Run pure computation on `count` items of a given size, in parts; return the result of each part.

        It runs in a thread, all at once. If it `computes_here`, one part is done in each turn of the loop, so that
        urgent work waits for one part at most.
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

        This is for descriptors that came with a request. The client may leave, which closes the request's descriptor
        while the thread goes on; by then its number may mean another file, which would be read or written instead.
        """
        own = os.dup(fd)
        try:
            running = self.threads.submit(work, own, *args, **kwargs)
        except BaseException:
            os.close(own)
            raise
        # This also runs if the work never began.
        running.add_done_callback(lambda _: os.close(own))
        return await asyncio.wrap_future(running)
