"""Stops the work of a thread when its caller is cancelled, and waits until the thread has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from peerpost.errors import UnavailableError

__all__ = ["GivenUp", "until_left"]

P = ParamSpec("P")
T = TypeVar("T")


class GivenUp:
    """A flag that work without a known end checks between two pieces."""

    def __init__(self) -> None:
        self._given_up = False

    def stop(self) -> None:
        """Make the work end before its next piece."""
        self._given_up = True

    def require_wanted(self) -> None:
        """Raise UnavailableError if nobody waits for the work any more."""
        if self._given_up:
            raise UnavailableError("it was given up", hint="try again")


async def until_left(
    threads: Executor,
    stop: Callable[[], object],
    work: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return the result of work in a thread. If the caller is cancelled, stop the work and wait until it has ended.

    It must not go on without a caller: its source may have no end, and what it reads is closed after this.
    """
    running = asyncio.wrap_future(threads.submit(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop()
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # It failed because we stopped it; fetched here so that it is not logged.
        raise
