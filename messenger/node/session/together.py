"""Coroutines that end together: when the first one ends, for whatever reason, the others are cancelled.

`asyncio.TaskGroup` does this too, but the error that it raises refers to itself through its frames. Everything in
these, such as a session with its buffers, would be freed only by the garbage collector, perhaps hours later.
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
    # First those that ended first, in their order; then any that failed while it was being cancelled.
    errors = [
        r for t, r in zip(tasks, results, strict=True) if isinstance(r, Exception) and t in ended
    ]
    errors += [r for r in results if isinstance(r, Exception)]
    return errors[0] if errors else None


async def unless_fails(watch: Coroutine[Any, Any, None], work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or raise the failure of `watch`. If `watch` just ends, nothing happens.

    What still runs then is cancelled, and waited for.
    """
    loop = asyncio.get_running_loop()
    watching, working = loop.create_task(watch), loop.create_task(work)
    try:
        await asyncio.wait((watching, working), return_when=asyncio.FIRST_COMPLETED)
        if not _failed(watching):
            await asyncio.wait((working,))
        elif not working.done() or _failed(working):
            # The failure of `watch` comes first: `work` may only have failed because `watch` closed the connection.
            await watching
        return await working
    finally:
        for task in (watching, working):
            task.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)
        # The error refers to this frame; without `del`, the frame would refer to the error too.
        del task, watching, working


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
