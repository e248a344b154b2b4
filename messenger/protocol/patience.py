"""How long a receiver waits before it asks again, says that it is stuck, or gives up.

Silence counts, slowness does not: every byte that continues a chunk starts the wait over, so a link
that carries one segment a minute is waited for. Nothing here outlives a session.
"""

from __future__ import annotations

from dataclasses import dataclass

from .chunk_window import MAX_WINDOW_BYTES

__all__ = ["Patience", "ReceivePolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivePolicy:
    """What a receiver tolerates."""

    ask_timeout_s: float = 5.0
    """Silence before asking again, or four answer times if that is longer."""
    ask_timeout_max_s: float = 60.0
    """The interval doubles up to this."""
    max_silent_asks: int = 720
    """Requests in a row, within a session, that bring not one byte: half a day of them.

    A sender may be slow for a long time, because many files share a limit or because it hashes a terabyte. Waiting
    only takes one of this contact's own places, and the user can see that the transfer is stalled.
    """
    max_strikes: int = 3
    """Times one chunk may be wrong."""
    max_misses: int = 6
    """Times one chunk may be passed over or come with a gap, within a session."""
    stall_s: float = 120.0
    """Time without a good chunk until the transfer counts as stalled."""
    checkpoint_s: float = 1.0
    """How often progress is made durable."""
    max_window_bytes: int = MAX_WINDOW_BYTES


class Patience:
    """How long one session has waited, and when it next acts."""

    __slots__ = ("_policy", "_quiet_from_s", "_timeout_s", "good_s", "silent_asks", "stalled")

    def __init__(self, policy: ReceivePolicy) -> None:
        self._policy = policy
        self.start(0.0)

    def start(self, now_s: float) -> None:
        """Begin anew: a session is up, or the transfer goes on after a pause."""
        self._timeout_s = self._policy.ask_timeout_s
        self._quiet_from_s = now_s
        self.silent_asks = 0
        """Requests that nothing has answered."""
        self.good_s = now_s
        """When the last good chunk was written."""
        self.stalled = False

    @property
    def ask_due_s(self) -> float:
        """When to ask again."""
        return self._quiet_from_s + self._timeout_s

    @property
    def stall_due_s(self) -> float | None:
        """When the transfer counts as stalled, unless it does already."""
        return None if self.stalled else self.good_s + self._policy.stall_s

    def asked(self, now_s: float) -> None:
        """Note a request: the wait for its answer begins now."""
        self._quiet_from_s = max(self._quiet_from_s, now_s)

    def heard(self, now_s: float, answer_s: float | None) -> None:
        """Note that useful bytes came. `answer_s` is the shortest answer time known."""
        self._quiet_from_s = now_s
        self.silent_asks = 0
        self._timeout_s = max(self._policy.ask_timeout_s, 4 * (answer_s or 0.0))

    def good(self, now_s: float) -> None:
        """Note a chunk that is checked and written."""
        self.good_s, self.stalled = now_s, False

    def ran_out(self, now_s: float, *, counts: bool) -> int:
        """Note that it is time to ask again, and return how many requests were in vain.

        `counts` is false while there may be nothing to send: a stream whose source is slow.
        """
        self._timeout_s = min(2 * self._timeout_s, self._policy.ask_timeout_max_s)
        self._quiet_from_s = now_s
        if counts:
            self.silent_asks += 1
        return self.silent_asks
