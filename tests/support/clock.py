"""Time for simulations: the clock advances when nothing is left to do at the current time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """A clock in seconds that advances when nothing is left to do at the current time."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_s + delay_s, next(self._order), action))

    def step(self) -> bool:
        if not self._queue:
            return False
        at_s, _, action = heapq.heappop(self._queue)
        self.now_s = max(self.now_s, at_s)
        action()
        return True
