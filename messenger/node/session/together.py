"""Coroutines that end together: with the first that ends, for whatever reason, the others are cancelled.

`asyncio.TaskGroup` does this too, but the error that it raises refers to itself through its frames: all that these
hold, a session with its buffers, would be freed by the collector alone, which may not come for hours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["unless_fails", "until_one_ends"]

T = TypeVar("T")


async def until_one_ends(
    named: Iterable[tuple[str, Coroutine[Any, Any, None]]],
) -> BaseException | None:
    """Run coroutines until the first ends, then end the others; return the error of the first that failed.

    Cancelling the caller cancels them all, and waits for them.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(coroutine, name=name) for name, coroutine in named]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    # In their order among those that ended first, then whatever failed while it was cancelled.
    errors = [
        r for t, r in zip(tasks, results, strict=True) if isinstance(r, Exception) and t in ended
    ]
    errors += [r for r in results if isinstance(r, Exception)]
    return errors[0] if errors else None


async def unless_fails(watch: Coroutine[Any, Any, None], work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` comes to, or raise what `watch` failed with; its mere end matters to nobody.

    What is still running then is cancelled, and waited for.
    """
    loop = asyncio.get_running_loop()
    watching, working = loop.create_task(watch), loop.create_task(work)
    try:
        await asyncio.wait((watching, working), return_when=asyncio.FIRST_COMPLETED)
        if not _failed(watching):
            await asyncio.wait((working,))
        elif not working.done() or _failed(working):
            # Why comes before the connection that was closed upon it.
            await watching
        return await working
    finally:
        for task in (watching, working):
            task.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)
        # An error refers to this frame, and these to the error.
        del task, watching, working


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
