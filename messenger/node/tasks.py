"""Background tasks with an owner: kept alive, named, their failures logged, stopped together.

`asyncio.create_task` alone lets the collector take a running task and swallows its exception; nothing in the node
uses it except here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from peerpost.errors import PeerpostError

__all__ = ["Tasks"]

log = logging.getLogger(__name__)


class Tasks:
    """A set of running tasks."""

    def __init__(self, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_failure = on_failure

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a coroutine until it ends or `stop` is called."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            known = isinstance(error, PeerpostError)
            log.error("%s failed: %r", task.get_name(), error, exc_info=None if known else error)
            if self._on_failure is not None:
                self._on_failure(error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(self) -> None:
        """Wait until all that runs beside the caller has ended, and what that has started."""
        current = asyncio.current_task()
        while tasks := [task for task in self._tasks if task is not current]:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel what runs and wait until it has unwound."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
