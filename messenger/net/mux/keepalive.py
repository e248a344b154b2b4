"""Whether the peer is alive, and how far away it is: pings, and what their answers tell. Times are arguments."""

from __future__ import annotations

import math

__all__ = ["MARK", "Keepalive", "Pulse"]

MARK = 1 << 31
"""This bit is set in the value of a ping that marks bulk, and clear in one that asks for a sign of life."""
FIRST_PINGS = 4
"""Sent one after another at the beginning, because the first answer also waits for the peer to become ready."""
SOON_S = 0.02
"""The shortest wait until the next look: enough for the loop to read what has arrived."""
LATE_S = 0.2
"""A look that comes this much after its time is late."""


class Keepalive:
    """How often a peer is asked for a sign of life, and how long after its last one it is given up at the latest.

    The time between the two is what it has to answer: 5.5 s, so that a peer whose loop is busy is not taken for dead.
    """

    def __init__(self, ask_after_s: float = 4.0, dead_after_s: float = 9.5) -> None:
        self.ask_after_s = ask_after_s
        self.dead_after_s = dead_after_s

    @property
    def answer_within_s(self) -> float:
        """How long a peer may say nothing at all once it was asked."""
        return self.dead_after_s - self.ask_after_s


class Pulse:
    """The signs of life of one peer."""

    def __init__(self, settings: Keepalive, now_s: float) -> None:
        self.rtt_s: float | None = None
        """The shortest round trip seen. A longer one includes waiting behind data in flight; if windows grew with it,
        there would be even more data in flight.
        """
        self.last_s = math.inf
        """The newest round trip."""
        self._settings = settings
        self._asked_s = self._look_s = now_s
        self._unanswered_s: float | None = None
        """When the peer was first asked since its last sign of life."""
        self._value = 0
        self._answers = 0

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until `is_dead` and `is_due` should be asked again."""
        next_s = self._asked_s + self._settings.ask_after_s
        if self._unanswered_s is not None:
            next_s = min(next_s, self._unanswered_s + self._settings.answer_within_s)
        self._look_s = max(next_s, now_s + SOON_S)
        return self._look_s - now_s

    def heard(self) -> None:
        """Note a sign of life: anything that came."""
        self._unanswered_s = None

    def ask(self, now_s: float) -> int:
        """Return the value of the next ping."""
        self._value = (self._value + 1) % MARK
        self._asked_s = now_s
        if self._unanswered_s is None:
            self._unanswered_s = now_s
        return self._value

    def answered(self, value: int, now_s: float) -> bool:
        """Note an answer; return True if the next ping should follow at once."""
        if value != self._value:
            return False
        self.last_s = now_s - self._asked_s
        self.rtt_s = self.last_s if self.rtt_s is None else min(self.last_s, self.rtt_s)
        self._answers += 1
        return self._answers < FIRST_PINGS

    def is_due(self, now_s: float) -> bool:
        """Return whether to ask again."""
        return now_s - self._asked_s >= self._settings.ask_after_s

    def is_dead(self, now_s: float) -> bool:
        """Return whether the peer has not answered for too long.

        If this is asked late, the answer is no: our own loop was busy, and must first read what arrived meanwhile.
        """
        if self._unanswered_s is None or now_s - self._look_s > LATE_S:
            return False
        return now_s - self._unanswered_s >= self._settings.answer_within_s
