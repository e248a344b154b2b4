"""Threads that work for somebody who may leave: they are stopped, and seen to leave too."""

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
    """What work that may have no end asks between two pieces."""

    def __init__(self) -> None:
        self._given_up = False

    def stop(self) -> None:
        """Have the work end at its next piece."""
        self._given_up = True

    def require_wanted(self) -> None:
        """Raise UnavailableError once nobody waits for the work any more."""
        if self._given_up:
            raise UnavailableError("it was given up", hint="try again")


async def until_left(
    threads: Executor,
    stop: Callable[[], object],
    work: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return what work in a thread comes to; where the caller is cancelled, stop it and see it leave.

    It must not go on for somebody who has left: its source may have no end, and what it reads is closed after this.
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
            running.exception()  # It was asked to fail, and nobody else takes that.
        raise
