"""Why one side of a file waits: its user has paused it, or an error of ours is in the way, or both.

    hold_up --> the file is let go --let_go--> it is waited --due, or hurry--> it is tried --> over
                                                  ^                              |
                                                  +----- wait_on, or hold_up ----+

Each machine has one of these, and nobody else keeps a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Trouble", "Waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An error of ours that holds a file up for now."""

    cause: str
    """For our user."""
    told: str
    """For the peer: the cause may contain private paths."""
    next_try_s: float
    """When to try again."""


class Waiting:
    """The reasons for which a file waits."""

    __slots__ = ("_hurried", "_letting_go", "_trying", "paused", "trouble")

    def __init__(self) -> None:
        self.paused: str | None = None
        """Why our user has paused it, while that lasts."""
        self.trouble: Trouble | None = None
        """What holds it up, until a try has succeeded."""
        self._letting_go = self._hurried = self._trying = False

    @property
    def told(self) -> str | None:
        """The reason that the peer is told, or None if nothing is waited for."""
        if self.paused is not None or self.trouble is None:
            return self.paused
        return self.trouble.told

    @property
    def held_up(self) -> bool:
        """Whether the time to try again is waited for."""
        return self.trouble is not None and not self._trying

    @property
    def due_s(self) -> float | None:
        """When to try again, or None."""
        if self.trouble is None or self._trying or self._letting_go:
            return None
        return 0.0 if self._hurried else self.trouble.next_try_s

    def hold_up(self, trouble: Trouble, *, letting_go: bool = False) -> None:
        """Note an error. If the file is let go, nothing is tried before `let_go`."""
        self.trouble, self._letting_go = trouble, letting_go
        self._hurried = self._trying = False

    def let_go(self) -> None:
        """Note that nobody uses the file any more."""
        self._letting_go = False

    def hurry(self) -> None:
        """Try as soon as the file is let go."""
        self._hurried = True

    def try_(self, now_s: float) -> bool:
        """Return whether to try now, and note that it is being tried."""
        due_s = self.due_s
        if due_s is None or now_s < due_s:
            return False
        self._trying = True
        return True

    def wait_on(self, next_try_s: float) -> None:
        """Note that trying would be in vain before that time."""
        if self.trouble is not None:
            self.hold_up(replace(self.trouble, next_try_s=next_try_s))

    def over(self) -> None:
        """Note that nothing of ours is in the way any more."""
        self.trouble = None
        self._letting_go = self._hurried = self._trying = False
