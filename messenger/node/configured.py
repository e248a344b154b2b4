"""The duties of an open home that the configuration asks for. When their settings change, they are begun anew.

What else reads a setting reads it at the moment of use (`settings.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from peerpost.client import schedule

from .hook import Hook
from .retention import Retention

if TYPE_CHECKING:
    from peerpost.node.contact.network import Network
    from peerpost.node.files.transfers import Transfers

    from .services import Services
    from .tasks import Tasks

__all__ = ["Configured"]

_Work = Callable[[], Awaitable[None]]
_OF: Final = {
    "follow-schedule": ("limits.schedule",),
    "keep-within": ("storage.keep_",),
    "run-hook": ("hooks.",),
    "write-downloads": ("storage.downloads",),
}
"""By the name of the duty, the beginnings of the keys that it is made from."""


class Configured:
    """The duties of one open home."""

    def __init__(
        self, services: Services, network: Network, transfers: Transfers, tasks: Tasks
    ) -> None:
        """Prepare; the duties run among the `tasks` of the home, and end with them."""
        self._services = services
        self._network = network
        self._transfers = transfers
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self) -> None:
        """Begin those that are asked for."""
        for name in _OF:
            self._begin(name)

    async def begin_anew(self, keys: Iterable[str]) -> None:
        """End those whose settings are among the keys that have changed, and begin them with the settings of now."""
        changed = tuple(keys)
        for name, beginnings in _OF.items():
            if any(key.startswith(beginnings) for key in changed):
                await self._end(name)
                self._begin(name)

    def _begin(self, name: str) -> None:
        work = self._work(name)
        if work is not None:
            self._running[name] = self._tasks.keep(name, work, self._services.duties)

    async def _end(self, name: str) -> None:
        task = self._running.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _work(self, name: str) -> _Work | None:
        """Return the work of a duty under the settings of now; None if they do not ask for it."""
        config = self._services.config
        match name:
            case "follow-schedule":
                windows = [schedule.parse(text) for text in config.limits.schedule]
                # Without a schedule, a limit that it has set must not stay.
                self._services.limits.unscheduled()
                return (lambda: self._services.limits.follow(windows)) if windows else None
            case "keep-within":
                retention = Retention(self._services, self._transfers.arrived)
                return retention.follow if retention.limits else None
            case "run-hook":
                hook = Hook(self._services, self._network, self._transfers.arrived)
                return hook.follow if hook.is_set else None
            case _:
                return self._transfers.unsealing.follow if self._services.plainly else None
