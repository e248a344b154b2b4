"""Background tasks with an owner: they are kept alive, named and stopped together, and no failure goes unnoticed.

With `asyncio.create_task` alone, a running task may be garbage-collected and its exception is swallowed, so nothing in
the node uses it except this module. Whoever begins a task says what its failure means, and there are three answers: the
task is begun again (`Tasks.keep`), or the failure ends its owner (`EndsOwner`) or the node (`EndsNode`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from peerpost.client.rpc import RpcError
from peerpost.errors import PeerpostError

from .duties import Duties

__all__ = ["EndsNode", "EndsOwner", "Tasks"]

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndsOwner:
    """A failure ends the owner of the task, which then begins another one or says why not.

    `end` is called with the failure, once: a session ends with its cause and is dialled again, a transfer is
    suspended and resumed, a connection closes.
    """

    end: Callable[[BaseException], object]


@dataclass(frozen=True, slots=True)
class EndsNode:
    """A failure ends the node, which says why: without this task it would be useless."""

    end: Callable[[BaseException], object]


class Tasks:
    """A set of running tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, Any],
        *,
        name: str,
        on_failure: EndsOwner | EndsNode,
    ) -> asyncio.Task[Any]:
        """Run a coroutine until it ends or `stop` is called; `on_failure` says what a failure ends."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                known = isinstance(error, PeerpostError)
                log.error(
                    "%s failed: %r", task.get_name(), error, exc_info=None if known else error
                )
                on_failure.end(error)

        task.add_done_callback(ended)
        return task

    def keep(
        self, name: str, work: Callable[[], Awaitable[None]], duties: Duties
    ) -> asyncio.Task[Any]:
        """Do `work` until it returns or `stop` is called: after a failure it is begun again with backoff, and shown."""
        return self.spawn(duties.keep(name, work), name=name, on_failure=EndsNode(duties.lost))

    async def to_its_end(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Return the result of `work`. It goes on if the caller is cancelled, until `stop` at the latest."""

        async def outcome() -> T | PeerpostError | RpcError:
            try:
                return await work
            except (PeerpostError, RpcError) as error:
                # The caller gets this error, so it is not logged.
                return error

        # The caller is its owner, and gets any failure by awaiting it here.
        task = self.spawn(outcome(), name=name, on_failure=EndsOwner(lambda _: None))
        told: T | PeerpostError | RpcError = await asyncio.shield(task)
        if isinstance(told, (PeerpostError, RpcError)):
            raise told
        return told

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(self) -> None:
        """Wait until all tasks except the caller's have ended, and those that they started."""
        current = asyncio.current_task()
        while tasks := [task for task in self._tasks if task is not current]:
            # Not `gather`: if all tasks are done, it returns from Python 3.12 on without a turn of the loop,
            # and the callbacks that remove them from the set would never run.
            await asyncio.wait(tasks)

    async def stop(self) -> None:
        """Cancel what runs and wait until it has unwound."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
