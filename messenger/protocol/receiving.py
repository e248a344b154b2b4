"""The receiver's side of one file: asks, assembles, has checked, asks again, ends with a cause.

The receiver drives. It keeps a window of chunks asked for and asks

- for more as the window empties;
- again at once for a chunk that was wrong or that the sender passed over;
- again by timer, at growing intervals, for whatever has not come, the end of the file included;
- for everything missing when a session comes up, since all of a session is lost with it.

Every control message may be lost, doubled or late without harm: what is here depends only on what
was opened, checked against its leaf and written, and on a root that fits all leaves. What the peer
sends can cost the window in memory and no more; a chunk may be wrong three times and passed over
six times before the transfer fails, and it fails with the cause.

Leaves are not kept here: a leaf is written beside its chunk. Source: PROTOCOL.md, "Files".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.geometry import Geometry
from peerpost.wire.segment import Segment

from .assembly import Fit
from .outstanding import Chunk, Outstanding
from .patience import Patience, Policy
from .ranges import RangeSet
from .transfer import (
    Cancelled,
    Checkpoint,
    Completed,
    Failed,
    Finalize,
    ReceiveCommand,
    SendControl,
    Stalled,
    Verify,
    WholeChunk,
    clip_reason,
    runs_of,
)
from .window import Window

__all__ = ["Policy", "Receiving", "State"]

CHECK_BATCH: Final = 16
"""Chunks checked in one call: fills eight hash lanes twice."""
UNASKED_WINDOWS: Final = 8
"""Windows of data that nobody asked for, between two good chunks, before the transfer fails: a
sender repeats at most one window for each time it was asked again."""
_BITMAP_BYTES_PER_S: Final = 64 << 10
"""How much bitmap checkpoints may write: a terabyte's is 512 KiB, not to go out each second."""


class State(enum.Enum):
    """Where a transfer stands."""

    IDLE = "idle"
    """No session."""
    ACTIVE = "active"
    PAUSED = "paused"
    """By the user or for want of disk."""
    FINISHING = "finishing"
    """All chunks are written; the whole is being checked and put in place."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS: Final = frozenset({State.FAILED, State.CANCELLED})
_NEXT: Final = {
    State.IDLE: _ENDS | {State.ACTIVE, State.PAUSED, State.FINISHING},
    State.ACTIVE: _ENDS | {State.IDLE, State.PAUSED, State.FINISHING},
    State.PAUSED: _ENDS | {State.IDLE, State.ACTIVE, State.FINISHING},
    State.FINISHING: _ENDS | {State.PAUSED, State.DONE},
    State.DONE: frozenset[State](),
    State.FAILED: frozenset[State](),
    State.CANCELLED: frozenset[State](),
}
"""The automaton: which state may follow which."""


class Receiving:
    """One incoming file (see the module's text, and `transfer` for how to drive it)."""

    def __init__(
        self,
        *,
        file_id: bytes,
        chunk_log2: int,
        size: int | None,
        have: bytes = b"",
        finish: wire.Finish | None = None,
        limit_bytes: int = limits.MAX_FILE_BYTES,
        policy: Policy | None = None,
    ) -> None:
        """Begin, or go on with what an earlier run has written.

        `size` is the offer's; `have` the bitmap of what is on disk, as a re-hash found it; `finish`
        what an earlier Checkpoint recorded. `limit_bytes` is what was accepted: a stream that turns
        out longer fails.
        """
        self.file_id = file_id
        self.state = State.IDLE
        self.cause: str | None = None
        """Why it failed, was cancelled or is paused."""
        self.finish = finish
        self.geometry = Geometry(chunk_log2, finish.size if finish is not None else size)
        self._policy = policy or Policy()
        self.window = Window(self.geometry.chunk_bytes, self._policy.max_window_bytes)
        self._patience = Patience(self._policy)
        self._limit_bytes = limit_bytes
        # Of a stream, one chunk more than may come is asked for, to learn that there is one.
        self._limit_chunks = -(-limit_bytes // self.geometry.chunk_bytes)
        stop = self.geometry.count or min(self._limit_chunks + 1, limits.MAX_CHUNKS)
        self._have = RangeSet.from_bitmap(have)
        self._have.remove(stop, 8 * len(have))
        missing = RangeSet([(0, stop)])
        for first, end in self._have.runs():
            missing.remove(first, end)
        self._out = Outstanding(missing, self.geometry.sealed_bytes)
        self._commands: list[ReceiveCommand] = []
        self._session_up = False
        self._checking = False
        self._unasked_bytes = 0
        self._want_end = False
        self._dirty = False
        self._checkpoint_s = 0.0
        self._finish_if_whole()

    # -- what is known

    @property
    def progress_bytes(self) -> int:
        """Plaintext bytes that are checked and written."""
        total = len(self._have) << self.geometry.chunk_log2
        count = self.geometry.count
        if count is not None and count - 1 in self._have:
            total += self.geometry.plain_len(count - 1) - self.geometry.chunk_bytes
        return total

    @property
    def have(self) -> bytes:
        """Bitmap of the chunks that are checked and written."""
        return self._have.to_bitmap(self.geometry.count or self._have.stop)

    @property
    def outstanding(self) -> int:
        """Chunks asked for or held in memory."""
        return len(self._out)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return not _NEXT[self.state]

    @property
    def next_timer_s(self) -> float | None:
        """When to call `on_timer` and `take`, or None."""
        due: list[float] = []
        if self._waiting():
            due.append(self._patience.ask_due_s)
            if self._patience.stall_due_s is not None:
                due.append(self._patience.stall_due_s)
        if self._checkpoint_wanted():
            due.append(self._checkpoint_s)
        return min(due, default=None)

    # -- what the driver tells

    def session_up(self, now_s: float) -> None:
        """Start asking: a session with the sender has begun."""
        self._session_up = True
        if self.state is State.ACTIVE:
            self.session_down()
            self._session_up = True
        if self.state is State.IDLE:
            self._enter(State.ACTIVE)
            self._begin(now_s)
            if not self._have:
                self._send(wire.Accept(file_id=self.file_id))

    def session_down(self) -> None:
        """Stop asking: what was on its way is lost."""
        self._session_up = False
        self._out.drop()
        if self.state is State.ACTIVE:
            self._enter(State.IDLE)

    def pause(self, cause: str) -> None:
        """Stop asking until `resume`."""
        if self.state in (State.IDLE, State.ACTIVE):
            self._out.drop()
            self._enter(State.PAUSED)
            self.cause = cause

    def resume(self, now_s: float) -> None:
        """Go on after `pause`, `store_failed` or `finalize_postponed`."""
        if self.state is State.PAUSED:
            self.cause = None
            self._enter(State.ACTIVE if self._session_up else State.IDLE)
            self._begin(now_s)
            self._finish_if_whole()

    def hold(self, until_s: float) -> None:
        """Do not ask again before that time: the sender has said that it is busy."""
        self._patience.hold(until_s)

    def cancel(self, reason: str) -> None:
        """Give the file up and tell the sender."""
        if not self.ended:
            self._send(wire.Cancel(file_id=self.file_id, reason=clip_reason(reason)))
            self._end(State.CANCELLED, reason)

    def verified(self, good: Iterable[int], bad: Iterable[int], now_s: float) -> None:
        """Take the outcome of a `Verify`: which chunks are written, and which were wrong."""
        self._checking = False
        for index in good:
            chunk = self._out.checking.pop(index, None)
            if chunk is not None:
                self._out.done(chunk)
                self._have.add(index, index + 1)
                self._patience.good(now_s)
                self._dirty = True
                self._unasked_bytes = 0
        for index in bad:
            chunk = self._out.checking.get(index)
            if chunk is not None:
                self._strike(chunk, "does not fit its leaf")
        self._finish_if_whole()

    def store_failed(self, indexes: Iterable[int], cause: str) -> None:
        """Take that these chunks of a `Verify` could not be written: pause, nothing lost."""
        self._checking = False
        for index in indexes:
            chunk = self._out.checking.pop(index, None)
            if chunk is not None:
                self._out.give_up(chunk)
        self.pause(cause)

    def finalized(self) -> None:
        """Take that the file is in place and recorded: say so to the sender."""
        if self.state is State.FINISHING:
            self._enter(State.DONE)
            self._send(wire.Complete(file_id=self.file_id))
            self._commands.append(Completed())

    def finalize_failed(self, cause: str) -> None:
        """Take that the leaves do not add up to the root."""
        self._fail(cause)

    def finalize_postponed(self, cause: str) -> None:
        """Take that the disk would not let the file be finished: pause; `resume` tries again."""
        if self.state is State.FINISHING:
            self._enter(State.PAUSED)
            self.cause = cause

    def on_timer(self, now_s: float) -> None:
        """Ask again for what has not come, if it is time."""
        if not self._waiting():
            return
        stall_due_s = self._patience.stall_due_s
        if stall_due_s is not None and now_s >= stall_due_s:
            self._patience.stalled = True
            self._commands.append(Stalled(cause=f"waiting for {self._awaited()}"))
        if now_s < self._patience.ask_due_s:
            return
        only_end = not (self._out.pending or self._out.whole)
        asks = self._patience.ran_out(now_s, counts=not self._source_may_be_slow())
        patience = self._policy.max_silent_end_asks if only_end else self._policy.max_silent_asks
        if asks > patience:
            self._fail(f"{self._awaited()} was asked for {asks} times and never came")
            return
        self._want_end = self.finish is None
        for chunk in self._out.pending.values():
            self._out.again(chunk)
        for chunk in self._out.whole.values():
            chunk.leaf_asked = False

    def take(self, now_s: float) -> list[ReceiveCommand]:
        """Return the commands to carry out now, in order.

        Call it after a batch of events rather than after each: requests and checks are then batched
        too.
        """
        if self.state is State.ACTIVE:
            self._ask(now_s)
        if self._out.ready and not self._checking:
            self._check_ready()
        if self._checkpoint_wanted() and now_s >= self._checkpoint_s:
            self._checkpoint(now_s)
        commands, self._commands = self._commands, []
        return commands

    # -- what the peer sends

    def on_segment(self, segment: Segment, now_s: float) -> None:
        """Take a piece of a chunk."""
        chunk = self._out.pending.get(segment.index)
        if chunk is None or self.state is not State.ACTIVE:
            self._unasked(len(segment.data))
            return
        assembly = chunk.assembly
        reached = assembly.reached
        fit = assembly.put(segment.offset, segment.data, self.geometry.sealed_len(chunk.index))
        if assembly.reached > reached:
            if not reached:
                self.window.answered(now_s - chunk.asked_s)
            self._patience.heard(now_s, self.window.answer_s)
        if fit is Fit.WHOLE:
            self._whole(chunk, now_s)
        elif fit is Fit.GAP_AT_END:
            self._missed(chunk, "came with a gap")
        elif fit is Fit.TOO_LONG:
            self._strike(chunk, "is longer than its place in the file")
        elif fit is Fit.IGNORED:
            self._unasked(len(segment.data))

    def on_leaves(self, page: wire.Leaves) -> None:
        """Take a page of leaves: those of chunks that were asked for."""
        first, stop = page.first, page.first + len(page.leaves) // limits.LEAF_BYTES
        if self._over():
            return
        count = self.geometry.count
        if count is not None and stop > count:
            self._fail("the sender sent leaves beyond the end of the file")
        elif count is None and stop > self._limit_chunks:
            self._fail(f"the stream is longer than the {self._limit_bytes} bytes accepted")
        else:
            self._out.highest_leaf = max(self._out.highest_leaf, stop - 1)
            for index in range(first, stop):
                chunk = self._out.find(index)
                if chunk is not None:
                    at = (index - first) * limits.LEAF_BYTES
                    chunk.leaf = page.leaves[at : at + limits.LEAF_BYTES]
            self._out.promote(end_known=self.geometry.size is not None)

    def on_finish(self, finish: wire.Finish) -> None:
        """Take size, count and root of the file: believed once, and only if they fit the rest."""
        if self._over():
            return
        if self.finish is not None:
            if (finish.size, finish.root) != (self.finish.size, self.finish.root):
                self._fail("the sender named two different ends of the file")
            return
        lie = self._lie_in(finish)
        if lie is not None:
            self._fail(lie)
            return
        self.finish = finish
        self.geometry = Geometry(self.geometry.chunk_log2, finish.size)
        self._want_end, self._dirty = False, True
        if self._out.end_at(finish.count):
            self._settle_last(finish.count - 1)
            self._out.promote(end_known=self.geometry.size is not None)
            self._finish_if_whole()
        else:
            self._fail("the sender sent a chunk beyond the end of the file")

    def on_cancel(self, reason: str) -> None:
        """Take that the sender has given the file up."""
        if not self.ended:
            self._end(State.CANCELLED, reason)
            self._commands.append(Cancelled(cause=reason))

    # -- chunks

    def _whole(self, chunk: Chunk, now_s: float) -> None:
        self._out.come_whole(chunk)
        self.window.arrived(chunk.assembly.received, now_s)
        self._out.promote(end_known=self.geometry.size is not None)
        for passed in self._out.passed_over(chunk.turn):
            self._missed(passed, "was passed over")

    def _settle_last(self, index: int) -> None:
        """Apply the length of the last chunk, known only now, to what has come of it."""
        chunk = self._out.find(index) or self._out.ready.get(index)
        if chunk is None:
            return
        expected = self.geometry.sealed_len(index)
        if chunk.assembly.received > expected:
            self._strike(chunk, "is longer than its place in the file")
        elif chunk.assembly.received == expected and index in self._out.pending:
            self._out.come_whole(chunk)

    def _check_ready(self) -> None:
        chunks = []
        for index in sorted(self._out.ready)[:CHECK_BATCH]:
            chunk = self._out.ready.pop(index)
            self._out.checking[index] = chunk
            last = self.geometry.is_last(index)
            sealed = chunk.assembly.view()
            chunks.append(WholeChunk(index=index, last=last, leaf=chunk.leaf or b"", sealed=sealed))
        self._checking = True
        self._commands.append(Verify(chunks=tuple(chunks)))

    def _missed(self, chunk: Chunk, how: str) -> None:
        chunk.misses += 1
        if chunk.misses > self._policy.max_misses:
            self._fail(f"chunk {chunk.index} {how} {chunk.misses} times")
        else:
            self._out.again(chunk)

    def _strike(self, chunk: Chunk, why: str) -> None:
        strikes = self._out.strike(chunk)
        if strikes >= self._policy.max_strikes:
            self._fail(f"chunk {chunk.index} was wrong {strikes} times: it {why}")
        elif self.state is not State.ACTIVE:
            self._out.drop()

    def _unasked(self, size_bytes: int) -> None:
        self._unasked_bytes += size_bytes
        limit = UNASKED_WINDOWS * self.window.largest * self.geometry.sealed_bytes
        if self._unasked_bytes > limit:
            self._fail("the sender floods the transfer with what was not asked for")

    # -- asking

    def _ask(self, now_s: float) -> None:
        room = self.window.size - len(self._out)
        if room < max(1, self.window.size // 4) and self._out.pending:
            room = 0  # Asking for a few at a time halves the control messages.
        indexes = self._out.ask(room, now_s)
        first, leaves = self._out.lacking_leaves()
        if not (indexes or leaves or self._want_end):
            return
        runs = runs_of(indexes)
        for at in range(0, len(runs), limits.MAX_RANGES):
            self._pull(ranges=tuple(runs[at : at + limits.MAX_RANGES]))
        if leaves:
            self._pull(leaves_first=first, leaves_count=leaves)
        if self._want_end:
            self._pull()
        self._want_end = False
        self._patience.asked(now_s)

    def _pull(
        self,
        *,
        leaves_first: int = 0,
        leaves_count: int = 0,
        ranges: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Ask for chunks, or for leaves alone, or, with neither, for the end of the file."""
        pull = wire.Pull(
            file_id=self.file_id,
            leaves_first=leaves_first,
            leaves_count=leaves_count,
            ranges=ranges,
        )
        self._send(pull)

    def _waiting(self) -> bool:
        if self.state is not State.ACTIVE:
            return False
        out = self._out
        if out.pending or out.whole:
            return True
        return self.finish is None and not (out.ready or out.checking or out.missing)

    def _source_may_be_slow(self) -> bool:
        """Whether all that is waited for may not exist yet: the end of a stream is not known."""
        if self.geometry.size is not None:
            return False
        lacking = any(chunk.leaf is None for chunk in self._out.whole.values())
        return not lacking and all(i > self._out.highest_leaf for i in self._out.pending)

    def _awaited(self) -> str:
        first = min((*self._out.pending, *self._out.whole), default=None)
        return "the end of the file" if first is None else f"chunk {first}"

    def _begin(self, now_s: float) -> None:
        self.window.reset()
        self._patience.start(now_s)
        self._unasked_bytes = 0
        self._want_end = self.finish is None and not self._out.missing
        self._checkpoint_s = max(self._checkpoint_s, now_s + self._policy.checkpoint_s)

    # -- the end

    def _lie_in(self, finish: wire.Finish) -> str | None:
        count = finish.count
        if count != Geometry(self.geometry.chunk_log2, finish.size).count:
            return "the sender named a number of chunks that does not fit the size"
        if self.geometry.size not in (None, finish.size):
            return "the sender named another size than it offered"
        if finish.size > self._limit_bytes:
            return f"the stream is longer than the {self._limit_bytes} bytes accepted"
        if self._have.stop > count:
            return "the sender named an end before what it had sent"
        went_on = count - 1 in self._have or count - 1 in self._out.checking
        if self.geometry.size is None and went_on:
            # Checked as a chunk with another after it: only a lying sender ends there.
            return "the sender named an end where it had gone on"
        return None

    def _finish_if_whole(self) -> None:
        if self.finish is None:
            # All else may be here: then the end is asked for at once.
            self._want_end |= not (len(self._out) or self._out.missing)
        elif self.state in (State.IDLE, State.ACTIVE) and len(self._have) == self.finish.count:
            self._enter(State.FINISHING)
            self._commands.append(Finalize(finish=self.finish))

    def _checkpoint_wanted(self) -> bool:
        return self._dirty and self.state in (State.IDLE, State.ACTIVE, State.PAUSED)

    def _checkpoint(self, now_s: float) -> None:
        have = self.have
        self._dirty = False
        interval_s = max(self._policy.checkpoint_s, len(have) / _BITMAP_BYTES_PER_S)
        self._checkpoint_s = now_s + interval_s
        self._commands.append(
            Checkpoint(have=have, progress_bytes=self.progress_bytes, finish=self.finish)
        )

    def _over(self) -> bool:
        """Whether the transfer has ended. A sender that does not know is told of the end again."""
        if self.state is State.DONE:
            self._send(wire.Complete(file_id=self.file_id))
        return self.ended

    def _fail(self, cause: str) -> None:
        if not self.ended:
            self._send(wire.Cancel(file_id=self.file_id, reason=clip_reason(cause)))
            self._end(State.FAILED, cause)
            self._commands.append(Failed(cause=cause))

    def _end(self, state: State, cause: str) -> None:
        self._out.drop()
        self._enter(state)
        self.cause = cause

    def _enter(self, state: State) -> None:
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"a transfer cannot go from {self.state.value} to {state.value}")
        self.state = state

    def _send(self, message: wire.Inner) -> None:
        self._commands.append(SendControl(message=message))
