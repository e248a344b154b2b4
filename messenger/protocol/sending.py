"""The sender's side of one file: answers requests, within bounds, from a source read ahead.

A request names chunks; they are added to the set of wanted chunks, which is answered lowest first.
For each run that is read, the page of its leaves is sent and then its chunks, all on the bulk lane.
A chunk that is wanted already, or read and not yet sent, is not sent twice. If chunks of a stream do
not exist yet, the request stays open until they do. The end (size, count, root) is sent as soon as
it is known, before the last chunk of a stream; again when a session begins; and when a request asks
for nothing else.

A sender needs no memory of its own: after a crash the receiver asks for what is missing. What a
receiver can cost is bounded: chunks in memory by `ahead_bytes`, requests by a token bucket, and the
bytes sent by a few times the file, and once more in each hour. A bad link may need that, and a file
must not end for a reason that passes with time. Source: PROTOCOL.md, "Files".
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from peerpost.fastpath import LANES
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.geometry import Geometry

from .ranges import RangeSet
from .transfer import (
    Cancelled,
    Delivered,
    Failed,
    FindEnd,
    LetGo,
    ReadChunks,
    ReadLeaves,
    Refused,
    SendChunk,
    SendCommand,
    SendControl,
    TryAgain,
    clip_reason,
)
from .waiting import Trouble, Waiting

__all__ = ["NEXT", "SendPolicy", "SendState", "Sending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPolicy:
    """What a sender tolerates."""

    ahead_bytes: int = 4 << 20
    """Read and not yet sent: 10 ms at 400 MB/s, so that one read runs while another is being sent."""
    pulls_per_s: float = 1000.0
    """Requests answered: a receiver at 1 GB/s makes 500."""
    pull_burst: float = 2000.0
    max_fragments: int = 1024
    """Runs of chunks that may be wanted: a receiver asks for a window, which has only a few."""
    max_rounds: int = 8
    """How many times its size a file is sent to one receiver as fast as it asks."""
    spare_chunks: int = 1024
    """Chunks beyond that, for short files on bad links."""
    round_s: float = 3600.0
    """After each such time the file may be sent once more."""


class SendState(enum.Enum):
    """Where a transfer stands."""

    OFFERED = "offered"
    """Nothing asked for yet."""
    ACTIVE = "active"
    PAUSED = "paused"
    DELIVERED = "delivered"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FAILED = "failed"


_ENDS: Final = frozenset(
    {SendState.DELIVERED, SendState.REFUSED, SendState.CANCELLED, SendState.FAILED}
)
NEXT: Final = {
    SendState.OFFERED: _ENDS | {SendState.ACTIVE, SendState.PAUSED},
    SendState.ACTIVE: _ENDS | {SendState.PAUSED},
    SendState.PAUSED: _ENDS | {SendState.ACTIVE, SendState.OFFERED},
    **{end: frozenset[SendState]() for end in _ENDS},
}
"""Which states may follow each; docs/architecture.md draws this table."""


class Sending:
    """One outgoing file (see the module's text, and `transfer` for how to drive it)."""

    def __init__(
        self,
        *,
        file_id: bytes,
        chunk_log2: int,
        size: int | None,
        finish: wire.Finish | None = None,
        available: int | None = None,
        accepted: bool = False,
        policy: SendPolicy | None = None,
    ) -> None:
        """Begin, or go on after a restart.

        `size` is the offer's: None for a stream, of which `available` chunks can be read. `finish`
        is the end if it is known: from the spool, or from an earlier run of a reference.
        """
        self.file_id = file_id
        self.state = SendState.ACTIVE if accepted else SendState.OFFERED
        self.cause: str | None = None
        """Why it was refused, cancelled, or failed."""
        self._waiting = Waiting()
        self.finish = finish
        self.peer_pause: str | None = None
        """Why the receiver has paused, while it has."""
        self._accepted = accepted
        self._geometry = Geometry(chunk_log2, finish.size if finish is not None else size)
        self._policy = policy or SendPolicy()
        self._ahead = max(2, self._policy.ahead_bytes // self._geometry.chunk_bytes)
        # Once the end is known, all chunks exist; `available` was counted before and may be too small.
        counted = None if finish is not None else available
        self._available = (self._geometry.count or 0) if counted is None else counted
        self._commands: list[SendCommand] = []
        self._wanted = RangeSet()
        self._leaves_wanted: tuple[int, int] | None = None
        self._reading: dict[int, tuple[bytes, Sequence[memoryview]] | None] = {}
        """Each read by its first chunk, in the order they were asked for, with its result once it has one."""
        self._leaves_reading: tuple[int, int] | None = None
        self._in_hand: set[int] = set()
        self._read = RangeSet()
        self._finding = False
        self._want_end = False
        self._end_owed = False
        """Whether the end was being looked for when the source could not be read."""
        self._session_up = False
        self._pulls = self._policy.pull_burst
        self._pulls_s = 0.0
        self._sent_chunks = 0
        self._asked_s: float | None = None
        """When the file was first asked for."""

    # -- what is known

    @property
    def ended(self) -> bool:
        """Whether the transfer is over, for whatever reason."""
        return not NEXT[self.state]

    @property
    def trouble(self) -> Trouble | None:
        """Why the source cannot be read, until the next try."""
        return self._waiting.trouble

    @property
    def next_timer_s(self) -> float | None:
        """When to call `take` even if nothing happens, or None."""
        return self._waiting.due_s

    @property
    def accepted(self) -> bool:
        """Whether the receiver has wanted it."""
        return self._accepted

    @property
    def wants_more(self) -> bool:
        """Whether so little is in memory that `take` would read more, if there is more to read."""
        return self._ahead - len(self._in_hand) >= LANES or len(self._in_hand) < LANES

    # -- what the driver tells

    def session_up(self) -> None:
        """Answer requests: a session with the receiver has begun.

        The end is sent: if the receiver has the file but its last message was lost, it says so again.
        """
        self.session_down()
        self._session_up = True
        if self.state is SendState.PAUSED:
            self._say_paused()
        if self.state is SendState.ACTIVE or self.finish is not None:
            self._want_end = True

    def session_down(self) -> None:
        """Stop: what was asked for in this session is forgotten."""
        self._session_up = False
        self._forget_requests()

    def _forget_requests(self) -> None:
        self._wanted.clear()
        self._reading.clear()
        self._in_hand.clear()
        self._leaves_wanted = self._leaves_reading = None

    def pause(self, reason: str) -> None:
        """Send nothing until `resume`, and tell the receiver, so that it does not give up."""
        if not self.ended:
            told, self._waiting.paused = self._waiting.told, reason
            self._stop_sending(told)

    def _stop_sending(self, told: str | None) -> None:
        """Pause, and tell the receiver why, if it was `told` another reason or none."""
        if self.state is not SendState.PAUSED:
            self._enter(SendState.PAUSED)
            self._forget_requests()
            self._say_paused()
        elif self._waiting.told != told:
            self._say_paused()

    def resume(self) -> None:
        """Go on after `pause`: the receiver is told so and asks anew. If the source was in the way, it is tried now."""
        if self.state is SendState.PAUSED:
            told, self._waiting.paused = self._waiting.told, None
            if self._waiting.trouble is None:
                self._go_on()
            else:
                self._stop_sending(told)
                self._waiting.hurry()

    def _go_on(self) -> None:
        self._enter(SendState.ACTIVE if self._accepted else SendState.OFFERED)
        self._want_end, self._end_owed = self._want_end or self._end_owed, False
        self._send(wire.Pause(file_id=self.file_id, paused=False))

    def cancel(self, reason: str) -> None:
        """Give up the file and tell the receiver."""
        if not self.ended:
            self._send(wire.Cancel(file_id=self.file_id, reason=clip_reason(reason)))
            self._end(SendState.CANCELLED, reason)

    def chunks_read(self, first: int, leaves: bytes, sealed: Sequence[memoryview]) -> None:
        """Take what a `ReadChunks` read: the leaves and the sealed chunks from `first`."""
        self._read.add(first, first + len(sealed))
        if self.finish is None and len(self._read) == self._geometry.count:
            self._want_end = True
        if first not in self._reading:
            return  # It was read for a session that is over.
        self._reading[first] = (leaves, sealed)
        # Reads end in any order. They are sent in the order of asking, or the receiver would take chunks for skipped.
        for start, result in list(self._reading.items()):
            if result is None:
                return
            del self._reading[start]
            self._send_chunks(start, *result)

    def leaves_read(self, first: int, leaves: bytes) -> None:
        """Take what a `ReadLeaves` read."""
        if self._leaves_reading is None or self.ended:
            return
        self._leaves_reading = None
        self._send(wire.Leaves(file_id=self.file_id, first=first, leaves=leaves), wire.Lane.BULK)

    def chunk_sent(self, index: int) -> None:
        """Note that a `SendChunk` was sent. Until then the chunk is not read again."""
        self._sent_chunks += 1
        self._in_hand.discard(index)

    def grown(self, available: int) -> None:
        """Note that a stream has that many chunks by now, none of which is the last."""
        if self.finish is None:
            self._available = max(available, self._available)

    def finished(self, finish: wire.Finish) -> None:
        """Take size, count and root, from a `FindEnd` or from a stream that has ended."""
        self._finding = False
        self.finish = finish
        self._geometry = Geometry(self._geometry.chunk_log2, finish.size)
        self._available = finish.count
        self._wanted.remove(finish.count, limits.MAX_CHUNKS)
        self._want_end = True

    def source_failed(self, cause: str) -> None:
        """Note that the source cannot be read or has changed: the transfer is over."""
        self._finding = False
        self._fail(cause)

    def source_waits(self, trouble: Trouble) -> None:
        """Note that the source cannot be read for now: pause until `try_again`."""
        self._end_owed = self._end_owed or self._finding
        self._finding = False
        if self.ended or self._waiting.held_up:
            return
        told = self._waiting.told
        self._waiting.hold_up(trouble, letting_go=True)
        self._stop_sending(told)
        self._commands.append(LetGo(cause=trouble.cause))

    def let_go(self) -> None:
        """Note that the source is closed."""
        self._waiting.let_go()

    def hurry(self) -> None:
        """Do not wait for the time of the next try."""
        self._waiting.hurry()

    def try_again(self) -> None:
        """Go on after `source_waits`, unless the user has paused it meanwhile."""
        self._waiting.over()
        if self.state is SendState.PAUSED and self._waiting.paused is None:
            self._go_on()

    def take(self, now_s: float) -> list[SendCommand]:
        """Return the commands to carry out now, in order; call it after a batch of events."""
        if self._waiting.try_(now_s):
            self._commands.append(TryAgain())
        if self._session_up and not self.ended:
            if self._want_end:
                self._answer_end()
            if self.state is SendState.ACTIVE:
                self._read_ahead()
        commands, self._commands = self._commands, []
        return commands

    # -- what the peer sends

    def on_accept(self) -> None:
        """Note that the receiver wants the file."""
        self._accepted = True
        if self.state is SendState.OFFERED:
            self._enter(SendState.ACTIVE)

    def on_refuse(self, reason: str) -> None:
        """Note that the receiver does not want the file."""
        if not self.ended:
            self._end(SendState.REFUSED, reason)
            self._commands.append(Refused(cause=reason))

    def on_cancel(self, reason: str) -> None:
        """Note that the receiver has given up the file."""
        if not self.ended:
            self._end(SendState.CANCELLED, reason)
            self._commands.append(Cancelled(cause=reason))

    def on_complete(self) -> None:
        """Note that the receiver has the file."""
        if not self.ended:
            self._end(SendState.DELIVERED, "")
            self.cause = None
            self._commands.append(Delivered())

    def on_pause(self, pause: wire.Pause) -> None:
        """Note that the receiver has paused or goes on. Nothing to do: it asks when it wants more."""
        self.peer_pause = pause.reason if pause.paused else None

    def on_pull(self, pull: wire.Pull, now_s: float) -> None:
        """Take a request. Beyond the bounds it is dropped: the receiver asks again."""
        if self.ended or not self._session_up or not self._admit(now_s):
            return
        self.on_accept()
        self.peer_pause = None
        if self.state is SendState.PAUSED:
            self._say_paused()
            return
        if self._sent_chunks > self._most_chunks(now_s):
            return
        count = self._geometry.count or limits.MAX_CHUNKS
        for first, length in pull.ranges:
            if first + length > count:
                self._want_end = True  # The receiver does not know the end yet.
            if self._wanted.fragments < self._policy.max_fragments:
                self._wanted.add(first, min(first + length, count))
        for index in self._in_hand:
            self._wanted.remove(index, index + 1)
        if pull.leaves_count:
            self._leaves_wanted = (pull.leaves_first, pull.leaves_count)
        if not pull.ranges and not pull.leaves_count:
            self._want_end = True

    # -- within

    def _read_ahead(self) -> None:
        if self._leaves_wanted is not None and self._leaves_reading is None:
            self._read_leaves(*self._leaves_wanted)
            self._leaves_wanted = None
        while len(self._in_hand) < self._ahead:
            if not self.wants_more:
                return  # Enough is in memory; wait until many can be read at once, which hash several times faster.
            room = min(LANES, self._ahead - len(self._in_hand))
            run = self._wanted.pop_run(room, below=self._available)
            if run is None:
                return
            first, count = run
            self._reading[first] = None
            self._in_hand.update(range(first, first + count))
            self._commands.append(ReadChunks(first=first, count=count))

    def _say_paused(self) -> None:
        reason = clip_reason(self._waiting.told or "")
        self._send(wire.Pause(file_id=self.file_id, paused=True, reason=reason))

    def _read_leaves(self, first: int, count: int) -> None:
        stop = min(first + min(count, limits.LEAVES_PER_PAGE), self._available)
        if first < stop:
            self._leaves_reading = (first, stop - first)
            self._commands.append(ReadLeaves(first=first, count=stop - first))

    def _send_chunks(self, first: int, leaves: bytes, sealed: Sequence[memoryview]) -> None:
        page = wire.Leaves(file_id=self.file_id, first=first, leaves=leaves)
        self._send(page, wire.Lane.BULK)
        for index, chunk in enumerate(sealed, first):
            self._commands.append(SendChunk(index=index, sealed=chunk))

    def _answer_end(self) -> None:
        if self.finish is not None:
            self._want_end = False
            self._send(self.finish, wire.Lane.BULK)
        elif self._geometry.size is None:
            self._want_end = False  # A stream: its end is sent when there is one.
        elif not self._finding and self.state is not SendState.PAUSED:
            self._finding = True
            self._commands.append(FindEnd())

    def _admit(self, now_s: float) -> bool:
        policy = self._policy
        earned = max(0.0, now_s - self._pulls_s) * policy.pulls_per_s
        self._pulls = min(policy.pull_burst, self._pulls + earned)
        self._pulls_s = now_s
        if self._pulls < 1:
            return False
        self._pulls -= 1
        return True

    def _most_chunks(self, now_s: float) -> float:
        """Return how many chunks may have been sent by now, repeats included."""
        if self._asked_s is None:
            self._asked_s = now_s
        rounds = self._policy.max_rounds + (now_s - self._asked_s) / self._policy.round_s
        return rounds * (self._geometry.count or self._available or 0) + self._policy.spare_chunks

    def _fail(self, cause: str) -> None:
        if not self.ended:
            self._send(wire.Cancel(file_id=self.file_id, reason=clip_reason(cause)))
            self._end(SendState.FAILED, cause)
            self._commands.append(Failed(cause=cause))

    def _end(self, state: SendState, cause: str) -> None:
        self.session_down()
        self._waiting.over()
        self._enter(state)
        self.cause = cause

    def _enter(self, state: SendState) -> None:
        if state not in NEXT[self.state]:
            raise RuntimeError(f"a transfer cannot go from {self.state.value} to {state.value}")
        self.state = state

    def _send(self, message: wire.Inner, lane: wire.Lane = wire.Lane.URGENT) -> None:
        self._commands.append(SendControl(message=message, lane=lane))
