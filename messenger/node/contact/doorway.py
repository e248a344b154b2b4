"""How many connections a contact may have dialled to us at once, and how many of them may still be in HELLO.

They are counted for each contact, however many transport keys it has. If several contacts claim the key of a
connection, it counts for the one that has the fewest: so nobody can shut out a contact by claiming that contact's key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["CONNECTIONS_PER_CONTACT", "GREETINGS_PER_CONTACT", "Doorway"]

CONNECTIONS_PER_CONTACT = 8
"""Inbound connections at once: an honest contact has one, and for a moment some that are ending."""
GREETINGS_PER_CONTACT = 4
"""How many of these may be in HELLO at once."""


class Doorway:
    """The counts of all contacts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def has_room(self, claimants: Iterable[str], most: int) -> bool:
        """Return whether any of the claimants may have one more."""
        return any(self._counts[contact_id] < most for contact_id in claimants)

    @contextmanager
    def counted(self, claimants: Iterable[str]) -> Iterator[None]:
        """Count one connection for the length of a with block; for nobody if there is no claimant."""
        who = min(claimants, key=lambda contact_id: self._counts[contact_id], default=None)
        if who is None:
            yield
            return
        self._counts[who] += 1
        try:
            yield
        finally:
            self._counts[who] -= 1
            if not self._counts[who]:
                del self._counts[who]
