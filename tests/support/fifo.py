"""A first-come-first-served scheduler, to compare ours with."""

from __future__ import annotations

from collections import deque

from peerpost.protocol.scheduler import Flow, Scheduler


class Fifo(Scheduler):
    """Serves flows in the order in which they asked; if one waits for a limit, all wait."""

    def __init__(self) -> None:
        super().__init__()
        self._line: deque[Flow] = deque()
        self._due_ns: int | None = None

    def offer(self, flow: Flow, size_bytes: int, messages: int = 0) -> None:
        flow.size_bytes, flow.messages = size_bytes, messages
        self._line.append(flow)

    def withdraw(self, flow: Flow) -> None:
        if flow in self._line:
            self._line.remove(flow)

    @property
    def next_due_ns(self) -> int | None:
        return self._due_ns

    def next(self, now_ns: int) -> Flow | None:
        self._due_ns = None
        if not self._line:
            return None
        flow = self._line[0]
        if flow.limit is not None and (wait_ns := flow.limit.take(flow.size_bytes, 0, now_ns)):
            self._due_ns = now_ns + wait_ns
            return None
        return self._line.popleft()
