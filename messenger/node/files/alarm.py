"""A timer for a time that is postponed again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peerpost.node.clock import Clock

__all__ = ["Alarm"]


class Alarm:
    """Rings when it is due, by the monotonic time of a clock."""

    def __init__(
        self, due_s: Callable[[], float | None], ring: Callable[[], object], clock: Clock
    ) -> None:
        """Prepare; `due_s` returns the time at which it is due, or None."""
        self._due_s, self._ring, self._clock = due_s, ring, clock
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0

    def look(self) -> None:
        """Make sure that it rings in time; call this when the due time may have become earlier.

        Every piece of a chunk postpones the due time. So a timer that is set too early is not changed: when it fires,
        it looks again.
        """
        due_s = self._due_s()
        if due_s is None or (self._timer is not None and self._timer_s <= due_s):
            return
        self.cancel()
        self._timer_s = due_s
        delay_s = max(0.0, due_s - self._clock.monotonic_s())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._expired)

    def cancel(self) -> None:
        """Ring no more, until the next look."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        due_s = self._due_s()
        if due_s is not None and due_s <= self._clock.monotonic_s():
            self._ring()
        else:
            self.look()
