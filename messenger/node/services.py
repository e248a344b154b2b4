"""What every part of the node shares, handed down instead of reached for."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from peerpost import system
from peerpost.store.engine import Store

from .config import Config
from .events import Events
from .limits import RateLimits

__all__ = ["Services"]

PROCESSORS = system.processors()
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

    @property
    def buckets(self) -> tuple[int, ...] | None:
        """Sizes that envelopes are padded to, or None with padding off."""
        return None if self.config.padding.mode == "off" else tuple(self.config.padding.buckets)

    async def computed(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a few milliseconds of work that never waits, and return its result.

        In a thread where there are processors to spare. With two, the loop and the writer of the store need them both,
        and turns that threads take with the interpreter cost more than is gained; then it is done here.
        """
        if PROCESSORS > 2:
            return await self.in_thread(work, *args, **kwargs)
        return work(*args, **kwargs)

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run file work in a thread and return its result."""
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.threads, call)
