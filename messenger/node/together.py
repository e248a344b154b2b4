"""Coroutines that end together: with the first that ends, for whatever reason, the others are cancelled.

`asyncio.TaskGroup` does this too, but the error that it raises refers to itself through its frames: all that these
hold, a session with its buffers, would be freed by the collector alone, which may not come for hours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

__all__ = ["until_one_ends"]


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
