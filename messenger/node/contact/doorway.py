"""How many a contact may be at the door: connections that it has dialled, and those that are still proving themselves.

Counted for each contact, however many transport keys it has. A connection is counted to whoever of those that claim its
key has the fewest, so that nobody can shut out another by claiming the other's key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["CONNECTIONS_PER_CONTACT", "GREETINGS_PER_CONTACT", "Doorway"]

CONNECTIONS_PER_CONTACT = 8
"""Inbound at once: an honest contact has one, and for a moment what is left of others."""
GREETINGS_PER_CONTACT = 4
"""Of these, in HELLO at once."""


class Doorway:
    """The counts of all contacts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def has_room(self, claimants: Iterable[str], most: int) -> bool:
        """Tell whether one more of any of the claimants may come in."""
        return any(self._counts[contact_id] < most for contact_id in claimants)

    @contextmanager
    def counted(self, claimants: Iterable[str]) -> Iterator[None]:
        """Count one for the length of a with block; nobody's where there is no claimant."""
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
