"""Rate limits of the node: everybody's, and each contact's under it, in both directions, changed while it runs.

A contact keeps the same two `Limit`s over all its sessions, so that a reconnection does not refill a bucket. When
sending, a frame waits for its turn before it is sent. When receiving, what was read waits for a turn before more is
read, by the same rules: urgent first, contacts equally.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace

from peerpost.client.schedule import ScheduleWindow, at
from peerpost.node.clock import SYSTEM, Clock
from peerpost.protocol.limit import Limit, Rate
from peerpost.protocol.scheduler import Flow
from peerpost.store.tables import limits as rows
from peerpost.wire.inner import Lane

from .turns import Dispatcher

__all__ = ["RateLimits", "Traffic"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a session asks before it sends, and after it has read."""

    dispatcher: Dispatcher
    up: Limit
    down: Limit
    reading: Dispatcher
    flows: dict[Lane, Flow]
    """The flows of what was read, by lane."""
    unpaid: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    """Bytes and messages that were read and have not had their turn yet."""

    @property
    def clock(self) -> Clock:
        """The clock of the session's limits."""
        return self.dispatcher.clock

    def came(self, lane: Lane, size_bytes: int, messages: int) -> None:
        """Note what was read just now. `count` or `pace` is called next, unless the session ends first."""
        self._unpaid(lane, size_bytes, messages)

    def _unpaid(self, lane: Lane, size_bytes: int, messages: int) -> None:
        before = self.unpaid.get(lane, (0, 0))
        self.unpaid[lane] = (before[0] + size_bytes, before[1] + messages)

    def count(self, lane: Lane, size_bytes: int, messages: int) -> None:
        """Count what was read, which is under no limit."""
        self._unpaid(lane, -size_bytes, -messages)
        self.down.take(size_bytes, 0, 0)

    async def pace(self, lane: Lane, size_bytes: int, messages: int) -> None:
        """Return once what was read is within the limit downward."""
        flow = self.flows[lane]
        try:
            # Message by message, because a bucket never holds more than its burst, and one read may bring more.
            for left in range(max(1, messages), 0, -1):
                part = -(-size_bytes // left)
                size_bytes -= part
                await self.reading.turn(flow, max(1, part), min(1, messages))
                self._unpaid(lane, -part, -min(1, messages))
        finally:
            self.reading.release(flow)

    def end(self, unread_bytes: int) -> None:
        """Charge the contact's next session for what this one leaves: what was read and not paid for, or not read.

        Otherwise a contact whose connections break often would get a whole window without paying each time.
        """
        for size_bytes, messages in self.unpaid.values():
            self.down.owe(size_bytes, messages)
        self.unpaid.clear()
        self.down.owe(unread_bytes, 0)


class RateLimits:
    """The limits in force."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        now_ns = clock.monotonic_ns()
        self._sending, self._reading = Dispatcher(clock=clock), Dispatcher(clock=clock)
        self._everybody = (Limit(Rate(), now_ns), Limit(Rate(), now_ns))
        self._contacts: dict[str, tuple[Limit, Limit]] = {}
        self._stored = rows.RateLimit()
        self.window: ScheduleWindow | None = None
        """What the schedule says now, in the place of what is stored for everybody."""

    def load(self, table: list[rows.RateLimit]) -> None:
        """Put the stored limits in force."""
        for row in table:
            self.change(row)

    def change(self, row: rows.RateLimit) -> None:
        """Put one row in force now. Where the schedule sets a limit for everybody, the schedule holds."""
        if row.contact_id is None:
            self._stored = row
            row = self.everybody
        now_ns = self._clock.monotonic_ns()
        up, down = self._everybody if row.contact_id is None else self._pair(row.contact_id)
        burst = row.burst_bytes
        up.change(
            Rate(bytes_s=row.up_bytes_s, messages_s=row.messages_s, burst_bytes=burst), now_ns
        )
        down.change(
            Rate(bytes_s=row.down_bytes_s, messages_s=row.messages_s, burst_bytes=burst), now_ns
        )
        self._sending.limits_changed()
        self._reading.limits_changed()

    @property
    def everybody(self) -> rows.RateLimit:
        """Everybody's limits as they hold now."""
        if self.window is None:
            return self._stored
        return replace(self._stored, **self.window.limits)  # type: ignore[arg-type]

    async def follow(self, schedule: list[ScheduleWindow]) -> None:
        """Keep to a schedule until cancelled."""
        while True:
            now = self._clock.local_time()
            window = at(schedule, now)
            if window is not self.window:
                self.window = window
                self.change(self._stored)
                log.info("limits: %s", "as set" if window is None else window.text)
            # At most a minute, so that it notices when the clock is set and when summer time begins or ends.
            await asyncio.sleep(60.5 - now.tm_sec)

    def unscheduled(self) -> None:
        """Put what is stored in force, whatever a schedule has said until now."""
        if self.window is not None:
            self.window = None
            self.change(self._stored)

    def traffic(self, contact_id: str) -> Traffic:
        """Return the limits and flows for the sessions of a contact."""
        up, down = self._pair(contact_id)
        return Traffic(
            dispatcher=self._sending,
            up=up,
            down=down,
            reading=self._reading,
            flows={lane: self._reading.add(lane, down) for lane in Lane},
        )

    def passed_bytes(self, contact_id: str | None) -> tuple[int, int]:
        """Return bytes sent to a contact, or to all, and read from them, since the node started."""
        pairs = list(self._contacts.values()) if contact_id is None else [self._pair(contact_id)]
        return sum(up.taken_bytes for up, _ in pairs), sum(down.taken_bytes for _, down in pairs)

    def _pair(self, contact_id: str) -> tuple[Limit, Limit]:
        pair = self._contacts.get(contact_id)
        if pair is None:
            now_ns = self._clock.monotonic_ns()
            up, down = self._everybody
            pair = (Limit(Rate(), now_ns, up), Limit(Rate(), now_ns, down))
            self._contacts[contact_id] = pair
        return pair
