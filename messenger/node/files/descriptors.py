"""Work that opens files waits while the process may open no more: other files are closed in a moment."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["once_there_are_descriptors"]

WAIT_S = 60.0
"""The longest wait. Files under way give back their descriptors one after another."""
_PAUSE_S = 0.1
T = TypeVar("T")


async def once_there_are_descriptors(
    work: Callable[[], Awaitable[T]], *, again: Callable[[], object] = lambda: None
) -> T:
    """Do work, and if that fails for want of a descriptor, call `again` and do it anew.

    Raises what the work raises, after WAIT_S also for want of descriptors.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + WAIT_S
    while True:
        try:
            return await work()
        except Exception as error:
            if not _lacks_descriptors(error) or loop.time() > until_s:
                raise
        await asyncio.sleep(_PAUSE_S)
        again()


def _lacks_descriptors(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False
