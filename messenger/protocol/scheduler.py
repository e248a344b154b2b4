"""Who sends the next frame: deficit round robin over contacts and lanes, urgent first, bulk never starved.

A flow is one lane of one session. The flows that have a frame to send stand in one of two rings, urgent and bulk;
within a ring they share equally by bytes (Shreedhar and Varghese, 1995). The urgent ring goes first, but for every
`100 - bulk_percent` bytes that it sends while bulk waits, bulk may send `bulk_percent`. So an urgent frame waits for
at most one other, and a flood of urgent frames leaves bulk its share.

If a flow's own rate limit has no tokens, the flow is set aside until it has, and holds up nobody else. If the limit for
everybody has no tokens, the next flow waits at the head of its ring, and all others wait behind it. They are not set
aside each until its own frame fits, because then small frames would always fit first and large ones never. A step is
O(1), and O(log n) for n flows that are set aside. Of a frame, only the size is known here.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final

from peerpost.wire.inner import Lane

from .limit import Limit

__all__ = ["QUANTUM_BYTES", "Flow", "Scheduler"]

QUANTUM_BYTES: Final = 1 << 16
"""What a flow may send in its turn: the size of the largest frame, so that every turn sends at least one."""


class Flow:
    """One lane of one session, as the scheduler sees it. Its fields are the scheduler's."""

    __slots__ = ("deficit", "lane", "limit", "messages", "ringed", "size_bytes", "version")

    def __init__(self, lane: Lane, limit: Limit | None) -> None:
        self.lane = lane
        self.limit = limit
        self.size_bytes = 0  # of its next frame; 0: nothing to send
        self.messages = 0
        self.deficit = 0
        self.ringed = False
        self.version = 0  # tells an outdated place in the heap


class Scheduler:
    """Chooses among flows."""

    def __init__(self, *, bulk_percent: int = 20, quantum_bytes: int = QUANTUM_BYTES) -> None:
        if not 0 <= bulk_percent < 100:
            raise ValueError("bulk_percent must be in 0..99")
        self._bulk_percent = bulk_percent
        self._quantum = quantum_bytes
        self._rings: dict[Lane, deque[Flow]] = {lane: deque() for lane in Lane}
        self._owed = 0  # hundredths of bytes that bulk has waited for urgent
        self._parked: list[tuple[int, int, int, Flow]] = []
        self._turns = 0
        self._common_due_ns: int | None = None
        """When the limit for everybody lets the next flow go, while all wait for it."""
        self._last: dict[Lane, Flow | None] = dict.fromkeys(Lane)

    def offer(self, flow: Flow, size_bytes: int, messages: int = 0) -> None:
        """Note the size of the flow's next frame, and the number of messages in it.

        A flow that offers again before anything else was chosen goes on with its turn.
        """
        if size_bytes <= 0:
            raise ValueError("a frame has at least one byte")
        flow.size_bytes, flow.messages = size_bytes, messages
        self._enter(flow)

    def withdraw(self, flow: Flow) -> None:
        """Note that the flow has nothing to send, or is gone."""
        flow.size_bytes = flow.deficit = 0
        flow.version += 1

    def limits_changed(self) -> None:
        """Look again at the flows that were set aside: their limits may have changed."""
        for _, _, version, flow in self._parked:
            if version == flow.version:
                self._enter(flow)
        self._parked.clear()

    @property
    def next_due_ns(self) -> int | None:
        """When the first flow that waits for a limit may go on; None if none waits."""
        while self._parked and self._parked[0][2] != self._parked[0][3].version:
            heapq.heappop(self._parked)
        due = [self._parked[0][0]] if self._parked else []
        if self._common_due_ns is not None:
            due.append(self._common_due_ns)
        return min(due, default=None)

    def next(self, now_ns: int) -> Flow | None:
        """Choose the flow that sends its frame now, and charge it; None if none can."""
        self._unpark(now_ns)
        self._common_due_ns = None
        while True:
            flow = self._choose()
            if flow is None:
                return None
            if flow.limit is not None:
                wait_ns = flow.limit.take(flow.size_bytes, flow.messages, now_ns)
                if wait_ns and flow.limit.is_common(flow.size_bytes, flow.messages, now_ns):
                    self._common_due_ns = now_ns + wait_ns
                    return None
                if wait_ns:
                    self._park(flow, now_ns + wait_ns)
                    continue
            self._charge(flow)
            return flow

    # -- within

    def _enter(self, flow: Flow) -> None:
        flow.version += 1
        if flow.ringed:
            return
        flow.ringed = True
        ring = self._rings[flow.lane]
        if self._last[flow.lane] is flow and flow.deficit >= flow.size_bytes:
            ring.appendleft(flow)
        else:
            ring.append(flow)

    def _unpark(self, now_ns: int) -> None:
        while self._parked and self._parked[0][0] <= now_ns:
            _, _, version, flow = heapq.heappop(self._parked)
            if version == flow.version:
                self._enter(flow)

    def _park(self, flow: Flow, due_ns: int) -> None:
        self._rings[flow.lane].popleft()
        flow.ringed = False
        if self._last[flow.lane] is flow:
            self._last[flow.lane] = None  # A flow that has to wait for tokens ends its turn.
        self._turns += 1
        heapq.heappush(self._parked, (due_ns, self._turns, flow.version, flow))

    def _choose(self) -> Flow | None:
        """Return the flow at the head of the ring whose turn it is, its deficit large enough."""
        urgent = self._head(Lane.URGENT)
        bulk = self._head(Lane.BULK)
        if urgent is None or bulk is None:
            self._owed = 0
            return urgent or bulk
        due = self._owed >= bulk.size_bytes * (100 - self._bulk_percent)
        return bulk if due and self._bulk_percent else urgent

    def _head(self, lane: Lane) -> Flow | None:
        """Turn a ring until its head has the deficit for its frame."""
        ring = self._rings[lane]
        while ring:
            flow = ring[0]
            if not flow.size_bytes:  # withdrawn
                ring.popleft()
                flow.ringed = False
                continue
            if flow.deficit >= flow.size_bytes:
                return flow
            flow.deficit += self._quantum
            if flow.deficit >= flow.size_bytes:
                return flow
            ring.rotate(-1)
        return None

    def _charge(self, flow: Flow) -> None:
        size = flow.size_bytes
        if flow.lane is Lane.BULK:
            self._owed = max(0, self._owed - size * (100 - self._bulk_percent))
        elif self._rings[Lane.BULK]:
            self._owed += size * self._bulk_percent
        last = self._last[flow.lane]
        if last is not None and last is not flow and not last.ringed:
            last.deficit = 0  # It had nothing more to send, which ended its turn.
        self._last[flow.lane] = flow
        self._rings[flow.lane].popleft()
        flow.ringed = False
        flow.deficit -= size
        flow.size_bytes = 0
