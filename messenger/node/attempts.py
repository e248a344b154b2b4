"""Wrong passphrases: after a few in a row each further try has to wait, for longer each time.

This slows down whoever tries many at the node. It does nothing against somebody who has copied the keyfile: only the
passphrase itself and the cost of its derivation do.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from peerpost.errors import LockedError

from .clock import SYSTEM

__all__ = ["FREE", "LONGEST_S", "Attempts"]

FREE = 3
"""How many wrong ones in a row are answered at once: a person who mistypes is not punished."""
LONGEST_S = 60.0


class Attempts:
    """The wrong passphrases since the last right one. It lives as long as the process."""

    def __init__(self, *, now_s: Callable[[], float] = SYSTEM.monotonic_s) -> None:
        self._now_s = now_s
        self._failed = 0
        self._not_before_s = -math.inf

    def begin(self) -> None:
        """Allow a try. Raises LockedError, which says for how long, while none is allowed."""
        wait_s = self._not_before_s - self._now_s()
        if wait_s > 0:
            raise LockedError(
                f"{self._failed} wrong passphrases in a row: none is tried for {math.ceil(wait_s)} s",
                hint="wait, and look at what you enter: capital letters, the layout of the keyboard",
            )

    def failed(self) -> None:
        """Note a wrong one."""
        self._failed += 1
        if self._failed >= FREE:
            wait_s = min(LONGEST_S, 2.0 ** min(self._failed - FREE, 10))
            self._not_before_s = self._now_s() + wait_s

    def succeeded(self) -> None:
        """Note a right one."""
        self._failed, self._not_before_s = 0, -math.inf
