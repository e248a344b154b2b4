"""Turns: before every frame that leaves the node, its lane asks here, and the scheduler decides who goes next.

One lane at a time has the turn. It seals its frame and hands it to its stream, which has room, so nothing is awaited
in between; then it asks for another turn or lets go. This module gives the scheduler the clock and the loop.
"""

from __future__ import annotations

import asyncio

from peerpost.node.clock import SYSTEM, Clock
from peerpost.protocol.limit import Limit
from peerpost.protocol.scheduler import Flow, Scheduler
from peerpost.wire.inner import Lane

__all__ = ["Dispatcher"]


class Dispatcher:
    """The turns of all lanes of the node."""

    def __init__(self, scheduler: Scheduler | None = None, clock: Clock = SYSTEM) -> None:
        self.clock = clock
        self._scheduler = scheduler or Scheduler()
        self._holder: Flow | None = None
        self._waiting: dict[Flow, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns: int | None = None

    def add(self, lane: Lane, limit: Limit | None) -> Flow:
        """Make the flow of a lane."""
        return Flow(lane, limit)

    async def turn(self, flow: Flow, size_bytes: int, messages: int = 0) -> None:
        """Return when the flow may send a frame of that size; it then holds the turn.

        A flow that holds the turn asks for the next one without letting go first.
        """
        if not self.take(flow, size_bytes, messages):
            await self.granted(flow)

    @property
    def free(self) -> bool:
        """Whether nobody has the turn or asks for it."""
        return self._holder is None and not self._waiting

    def take(self, flow: Flow, size_bytes: int, messages: int = 0) -> bool:
        """Take the turn if nobody else asks for it. Otherwise the request stays, and `granted` waits for it."""
        self._scheduler.offer(flow, size_bytes, messages)
        if self._holder is flow:
            self._holder = None
        if self.free and self._scheduler.next(self.clock.monotonic_ns()) is flow:
            self._holder = flow
            return True
        return False

    async def granted(self, flow: Flow) -> None:
        """Return when the flow has the turn that `take` could not give it."""
        granted = asyncio.get_running_loop().create_future()
        self._waiting[flow] = granted
        self._grant()
        if granted.done():
            return
        try:
            await granted
        except BaseException:
            self.release(flow)
            raise

    def release(self, flow: Flow) -> None:
        """Let go of the turn, or of the request for one."""
        self._waiting.pop(flow, None)
        self._scheduler.withdraw(flow)
        if self._holder is flow:
            self._holder = None
            if self._waiting:
                self._grant()

    def limits_changed(self) -> None:
        """Ask again for those who wait for a limit."""
        self._scheduler.limits_changed()
        self._grant()

    def _grant(self) -> None:
        """Give the turn to the flow that the scheduler chooses, if nobody has it."""
        while self._holder is None:
            flow = self._scheduler.next(self.clock.monotonic_ns())
            if flow is None:
                self._set_timer()
                return
            granted = self._waiting.pop(flow, None)
            if granted is not None and not granted.done():
                self._holder = flow
                granted.set_result(None)

    def _set_timer(self) -> None:
        due_ns = self._scheduler.next_due_ns
        if due_ns == self._due_ns and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due_ns = due_ns
        if due_ns is not None:
            delay_s = max(0.0, (due_ns - self.clock.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._due_ns = None
        try:
            self._grant()
        except Exception as error:  # noqa: BLE001 - those who wait end with it: no other timer would wake them
            for granted in self._waiting.values():
                if not granted.done():
                    granted.set_exception(error)
