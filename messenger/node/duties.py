"""Duties: what the node does for as long as it runs. After every failure a duty is begun again, and the failure shown.

An ordinary task that fails just ends, and nobody is told. A duty that fails is noted, waits with backoff and begins
again, for ever; `node status` and `doctor` show the duties that fail now.
"""

from __future__ import annotations

import asyncio
import logging
import random  # noqa: TID251 - full jitter needs no secrecy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from peerpost.errors import PeerpostError
from peerpost.protocol.backoff import Backoff

from .clock import SYSTEM, Clock, rfc3339

__all__ = ["STEADY_S", "Duties"]

log = logging.getLogger(__name__)

STEADY_S = 5.0
"""A duty that has run for this long since it was begun again counts as well."""


@dataclass(slots=True)
class _Failure:
    since_ms: int
    error: str
    count: int
    at_s: float
    """When it is begun again, or was."""


class Duties:
    """The duties of a node, and which of them fail."""

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Clock = SYSTEM,
        draw: Callable[[], float] = random.random,
        on_lost: Callable[[BaseException], object] = lambda _: None,
    ) -> None:
        """Begin without duties; `on_lost` ends the node if a duty cannot even be begun again."""
        self._sleep = sleep
        self._clock = clock
        self._draw = draw
        self.lost = on_lost
        self._failures: dict[str, _Failure] = {}

    async def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, and begin it again after every failure, until it returns or is cancelled."""
        backoff = Backoff()
        try:
            while True:
                began_s = self._clock.monotonic_s()
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - whatever it is, the duty goes on
                    if self._clock.monotonic_s() - began_s >= STEADY_S:
                        self._failures.pop(name, None)
                        backoff.reset()
                    wait_s = backoff.next_wait_s(self._draw(), queued=True)
                    self._note(name, error, wait_s)
                    await self._sleep(wait_s)
                else:
                    return
        finally:
            self._failures.pop(name, None)

    def _note(self, name: str, error: Exception, wait_s: float) -> None:
        known = isinstance(error, (PeerpostError, OSError))
        text = error.message if isinstance(error, PeerpostError) else repr(error)
        failure = self._failures.get(name)
        # The traceback is logged once: a duty that fails every half minute must not fill the log.
        trace = None if known or (failure is not None and failure.error == text) else error
        log.error("%s failed, again in %.1f s: %s", name, wait_s, text, exc_info=trace)
        at_s = self._clock.monotonic_s() + wait_s
        if failure is None:
            self._failures[name] = _Failure(self._clock.now_ms(), text, 1, at_s)
        else:
            failure.error, failure.count, failure.at_s = text, failure.count + 1, at_s

    def failing(self) -> list[dict[str, Any]]:
        """Describe the duties that fail now, for `node status` and `doctor`."""
        now_s = self._clock.monotonic_s()
        for name, failure in list(self._failures.items()):
            if now_s - failure.at_s >= STEADY_S:
                del self._failures[name]
        return [
            {
                "name": name,
                "since": rfc3339(failure.since_ms),
                "error": failure.error,
                "failures": failure.count,
                "next_try_s": round(max(0.0, failure.at_s - now_s), 1),
            }
            for name, failure in self._failures.items()
        ]
