"""How many dials begin in a second: a thousand contacts who are away must not slow down those who are there.

Each contact has its own backoff (protocol.backoff); this is the bound over all of them. A contact that is wanted now,
because a message was just queued or the user asked, goes before those that are only tried again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from peerpost.fastpath import TokenBucket
from peerpost.node.clock import SYSTEM, Clock

__all__ = ["DIALS_PER_S", "DIAL_BURST", "DialPace"]

DIALS_PER_S: Final = 32
"""Enough to dial a thousand contacts once in half a minute, the longest wait of a contact's backoff. A dial takes some
milliseconds of CPU."""
DIAL_BURST: Final = 64
"""How many dials may begin at once: as many as an ordinary node has contacts."""


class DialPace:
    """Turns to dial."""

    def __init__(
        self, per_s: int = DIALS_PER_S, burst: int = DIAL_BURST, *, clock: Clock = SYSTEM
    ) -> None:
        self._clock = clock
        self._bucket = TokenBucket(per_s, burst, clock.monotonic_ns())
        self._waiting: OrderedDict[str, asyncio.Future[None]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, contact_id: str, *, soon: bool) -> None:
        """Return when a contact may be dialled; with `soon`, before all that wait already."""
        granted = asyncio.get_running_loop().create_future()
        self._waiting[contact_id] = granted
        if soon:
            self.hasten(contact_id)
        self._grant()
        try:
            await granted
        finally:
            if self._waiting.get(contact_id) is granted:
                del self._waiting[contact_id]

    def hasten(self, contact_id: str) -> None:
        """Make a contact that waits for its turn the next one."""
        if contact_id in self._waiting:
            self._waiting.move_to_end(contact_id, last=False)

    def _grant(self) -> None:
        now_ns = self._clock.monotonic_ns()
        while self._waiting and self._bucket.take(1, now_ns):
            _, granted = self._waiting.popitem(last=False)
            if not granted.done():
                granted.set_result(None)
        if self._waiting and self._timer is None:
            wait_s = self._bucket.wait_time(1, now_ns) / 1e9
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._grant()
        except Exception as error:  # noqa: BLE001 - those who wait begin again: no other timer would wake them
            for granted in self._waiting.values():
                if not granted.done():
                    granted.set_exception(error)
