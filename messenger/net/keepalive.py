"""Whether the peer is alive, and how far away: pings, and what their answers tell. Times are told, none is read."""

from __future__ import annotations

import math

__all__ = ["MARK", "Keepalive", "Pulse"]

MARK = 1 << 31
"""Set in the value of a ping that marks bulk, and not in one that asks for a sign of life."""
FIRST_PINGS = 4
"""Asked one after another, because the first answer waits for the peer to be ready."""


class Keepalive:
    """How often a peer is asked for a sign of life, and after how long a silence it is given up."""

    def __init__(self, ask_after_s: float = 4.0, dead_after_s: float = 9.0) -> None:
        self.ask_after_s = ask_after_s
        self.dead_after_s = dead_after_s


class Pulse:
    """The signs of life of one peer."""

    def __init__(self, settings: Keepalive, now_s: float) -> None:
        self.rtt_s: float | None = None
        """The shortest round trip seen. Longer ones have waited behind what is under way, of which windows that grow
        with them would make more.
        """
        self.last_s = math.inf
        """The newest round trip."""
        self._settings = settings
        self._heard_s = self._asked_s = now_s
        self._value = 0
        self._answers = 0

    @property
    def look_after_s(self) -> float:
        """How often to look at `is_due` and `is_dead`."""
        return self._settings.ask_after_s / 4

    def heard(self, now_s: float) -> None:
        """Note a sign of life: anything that came, or anything the peer took."""
        self._heard_s = now_s

    def ask(self, now_s: float) -> int:
        """Return the value of the next ping."""
        self._value = (self._value + 1) % MARK
        self._asked_s = now_s
        return self._value

    def answered(self, value: int, now_s: float) -> bool:
        """Note an answer; True where the next ping should follow at once."""
        if value != self._value:
            return False
        self.last_s = now_s - self._asked_s
        self.rtt_s = self.last_s if self.rtt_s is None else min(self.last_s, self.rtt_s)
        self._answers += 1
        return self._answers < FIRST_PINGS

    def is_due(self, now_s: float) -> bool:
        """Tell whether to ask again."""
        return now_s - self._asked_s >= self._settings.ask_after_s

    def is_dead(self, now_s: float) -> bool:
        """Tell whether the silence has lasted too long."""
        return now_s - self._heard_s >= self._settings.dead_after_s
