"""How long `send --wait` waits: for the given time, or without one as long as something moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peerpost.store.tables.outbox import Entry
from peerpost.wire.inner import Lane

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["DEFAULT_S", "Deadline"]

DEFAULT_S = 30.0
"""How long without a given time: for a text from the beginning, for a file from when it last moved."""
_HELD_UP = ("paused:", "asking:")


class Deadline:
    """The time that is left to wait for an entry.

    A file counts as moving when the receiver reports that it has more of it. It also does when bytes of any file are
    sent to the contact, because on a slow link the receiver seldom reports, and files are sent one after another. A
    file that is paused or asks to be accepted waits for a person, so bytes of other files do not count for it.
    """

    def __init__(self, opened: Opened, entry: Entry, timeout_s: float | None) -> None:
        self._opened, self._clock = opened, opened.clock
        self._entry = entry
        self._timeout_s = timeout_s
        within_s = DEFAULT_S if timeout_s is None else timeout_s
        self._deadline_s = self._clock.monotonic_s() + within_s
        self._left_bytes = self._leaving_bytes()
        self._had_bytes = 0

    @property
    def within(self) -> str:
        """Return how long it waited, in words for an error."""
        if self._timeout_s is not None or self._entry.file_id is None:
            return f"within {DEFAULT_S if self._timeout_s is None else self._timeout_s:g} s"
        return f"when nothing of it has moved for {DEFAULT_S:g} s"

    def left_s(self) -> float:
        """Return how long to go on waiting."""
        return max(0.0, self._deadline_s - self._clock.monotonic_s())

    def note(self, row: dict[str, Any]) -> None:
        """Take the entry as it is now. If it has moved, there is more time, unless a time was given."""
        if self._timeout_s is not None or self._entry.file_id is None:
            return
        left, had = self._leaving_bytes(), row["done_bytes"] or 0
        held_up = str(row["last_error"]).startswith(_HELD_UP)
        if had > self._had_bytes or (left > self._left_bytes and not held_up):
            self._deadline_s = self._clock.monotonic_s() + DEFAULT_S
        self._left_bytes, self._had_bytes = left, max(had, self._had_bytes)

    def _leaving_bytes(self) -> int:
        """Return how many bytes have left on the bulk lane of the current session."""
        peer = self._opened.network.peers.get(self._entry.contact_id)
        session = None if peer is None else peer.session
        return 0 if session is None else session.left_bytes(Lane.BULK)
