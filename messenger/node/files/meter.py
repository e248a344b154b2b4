"""How fast something grows: the mean over the last few seconds."""

from __future__ import annotations

from collections import deque

from peerpost.node.clock import SYSTEM, Clock

__all__ = ["Meter"]

SPAN_S = 5.0
"""The time over which the mean is taken: long enough to be steady, short enough to show a change."""
STEP_S = 0.25
"""The shortest time between two readings that are kept."""


class Meter:
    """Readings of a counter, and its rate."""

    def __init__(self, kept: int = 1, *, clock: Clock = SYSTEM) -> None:
        """Begin. `kept` readings older than the span are kept: with two, a counter read seldom has a rate too."""
        self._kept = kept
        self._clock = clock
        self._readings: deque[tuple[float, int]] = deque()

    def note(self, total: int, now_s: float | None = None) -> None:
        """Take a reading of the counter."""
        now_s = self._clock.monotonic_s() if now_s is None else now_s
        if not self._readings or now_s - self._readings[-1][0] >= STEP_S:
            self._readings.append((now_s, total))
        self._forget(now_s)

    def rate(self, total: int, now_s: float | None = None) -> float:
        """Return how much it grows in a second; `total` is what it is now."""
        now_s = self._clock.monotonic_s() if now_s is None else now_s
        self._forget(now_s)
        if not self._readings:
            return 0.0
        since_s, before = self._readings[0]
        return max(0, total - before) / max(now_s - since_s, STEP_S)

    def reset(self) -> None:
        """Begin anew: there was a pause."""
        self._readings.clear()

    def _forget(self, now_s: float) -> None:
        # The last reading before the span stays while there is none within it: it shows that nothing grew.
        while len(self._readings) > self._kept and now_s - self._readings[0][0] > SPAN_S:
            self._readings.popleft()
