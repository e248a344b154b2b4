"""Work in a thread that says now and then how far it is, and ends when nobody listens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Protocol, TypeVar

__all__ = ["Measured", "reported"]

TELL_S = 0.5
"""How often it is reported."""

T = TypeVar("T")


class Measured(Protocol):
    """Work that can be stopped and measured from another thread."""

    done_bytes: int
    total_bytes: int

    def stop(self) -> None:
        """Make it end before its next piece."""


async def reported(
    threads: Executor, work: Measured, run: Callable[[], T]
) -> AsyncGenerator[tuple[int, int] | T, None]:
    """Run work in a thread; yield (bytes done, of how many) meanwhile, and its result at last. Raises what it raises.

    If the generator is closed before, the work is stopped, and has ended when that returns.
    """
    running = asyncio.wrap_future(threads.submit(run))
    try:
        while not running.done():
            yield work.done_bytes, work.total_bytes
            await asyncio.wait((running,), timeout=TELL_S)
        yield await running
    finally:
        if not running.done():
            work.stop()
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # It failed because it was stopped; fetched here so that it is not logged.
