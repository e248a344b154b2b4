"""Rate limits of the node: everybody's, and each contact's under it, in both directions, changed while it runs.

A contact has the same two `Limit`s over all its sessions, so that a reconnection does not refill a bucket.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from peerpost.protocol.limit import Limit, Rate
from peerpost.store import limits as rows

from .dispatch import Dispatcher

__all__ = ["RateLimits", "Traffic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a session asks before it sends, and after it has read."""

    dispatcher: Dispatcher
    up: Limit
    down: Limit

    async def pace(self, size_bytes: int, messages: int) -> None:
        """Return once what was read is within the limit downward."""
        while wait_ns := self.down.take(size_bytes, messages, time.monotonic_ns()):  # noqa: ASYNC110
            # At most a second, so that a limit that is lifted is noticed.
            await asyncio.sleep(min(1.0, wait_ns / 1e9))


class RateLimits:
    """The limits in force."""

    def __init__(self) -> None:
        now_ns = time.monotonic_ns()
        self.dispatcher = Dispatcher()
        self._everybody = (Limit(Rate(), now_ns), Limit(Rate(), now_ns))
        self._contacts: dict[str, tuple[Limit, Limit]] = {}

    def load(self, table: list[rows.RateLimit]) -> None:
        """Put what is stored in force."""
        for row in table:
            self.change(row)

    def change(self, row: rows.RateLimit) -> None:
        """Put one row in force now."""
        now_ns = time.monotonic_ns()
        up, down = self._everybody if row.contact_id is None else self._pair(row.contact_id)
        burst = row.burst_bytes
        up.change(
            Rate(bytes_s=row.up_bytes_s, messages_s=row.messages_s, burst_bytes=burst), now_ns
        )
        down.change(
            Rate(bytes_s=row.down_bytes_s, messages_s=row.messages_s, burst_bytes=burst), now_ns
        )
        self.dispatcher.limits_changed()

    def traffic(self, contact_id: str) -> Traffic:
        """Return what the sessions of a contact ask."""
        up, down = self._pair(contact_id)
        return Traffic(dispatcher=self.dispatcher, up=up, down=down)

    def _pair(self, contact_id: str) -> tuple[Limit, Limit]:
        pair = self._contacts.get(contact_id)
        if pair is None:
            now_ns = time.monotonic_ns()
            up, down = self._everybody
            pair = (Limit(Rate(), now_ns, up), Limit(Rate(), now_ns, down))
            self._contacts[contact_id] = pair
        return pair
