"""When to dial again: exponential backoff with full jitter.

Full jitter is a uniform draw below the bound, not a spread around it. Without it, a thousand contacts would all dial a
node at the same moment when it comes back. Randomness is an argument; nothing here reads a clock.
"""

from __future__ import annotations

__all__ = ["FIRST_BOUND_S", "IDLE_CAP_S", "QUEUED_CAP_S", "Backoff"]

FIRST_BOUND_S = 1.0
"""Bound of the first wait: a node that restarts is back in about a second."""
QUEUED_CAP_S = 30.0
"""Bound while something waits to be delivered. After the line is back, the queue drains within twice this time
(docs/design.md, "Dialling again").
"""
IDLE_CAP_S = 300.0
"""Bound while nothing waits: the dial only tells who is online."""
_FLOOR_S = 0.2
"""Never dial again sooner: a draw of zero would make a hot loop."""


class Backoff:
    """The waits between dials of one contact."""

    __slots__ = ("_bound_s",)

    def __init__(self) -> None:
        self._bound_s = FIRST_BOUND_S

    def reset(self) -> None:
        """Start over: the peer was reached, or there is a reason to believe that it can be."""
        self._bound_s = FIRST_BOUND_S

    def next_wait_s(self, draw: float, *, queued: bool) -> float:
        """Return seconds to wait before the next dial and widen the bound.

        `draw` is uniform in [0, 1). `queued` says whether something waits for this contact.
        """
        cap_s = QUEUED_CAP_S if queued else IDLE_CAP_S
        bound_s = min(self._bound_s, cap_s)
        self._bound_s = min(self._bound_s * 2, IDLE_CAP_S)
        return max(_FLOOR_S, bound_s * draw)
