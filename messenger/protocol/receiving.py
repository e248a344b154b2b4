"""The receiver's side of one file: it asks, assembles, has chunks checked, asks again, ends with a cause.

The receiver drives. It keeps a window of chunks asked for, and asks

- for more as the window empties;
- again at once for a chunk that was wrong or that the sender passed over;
- again by timer, at growing intervals, for whatever has not come, the end of the file included;
- for everything missing when a session begins, because what was in flight in the last one is lost.

Every control message may be lost, doubled or late without harm: the file depends only on chunks that
were opened, checked against their leaf and written, and on a root that fits all leaves. This module
has the state of the transfer and how it ends; its chunks are in `intake`.

Leaves are not kept: a leaf is written beside its chunk. Source: PROTOCOL.md, "Files".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.geometry import Geometry
from peerpost.wire.segment import Segment

from .assembly import Allocate, plain_buffer
from .intake import Intake
from .patience import ReceivePolicy
from .transfer import (
    Cancelled,
    Checkpoint,
    Completed,
    Exceeded,
    Failed,
    Finalize,
    ReceiveCommand,
    SendControl,
    Stalled,
    Verify,
    clip_reason,
)

__all__ = ["NEXT", "ReceivePolicy", "Receiving", "State"]

_BITMAP_BYTES_PER_S: Final = 64 << 10
"""How fast checkpoints may write bitmaps: that of a terabyte has 512 KiB, too much for every second."""
CHECKS: Final = 2
"""How many checks run at once: one waits for the disk while the other one uses the processor."""


class State(enum.Enum):
    """Where a transfer stands."""

    IDLE = "idle"
    """No session."""
    ACTIVE = "active"
    PAUSED = "paused"
    """By the user, or because the disk is full."""
    FINISHING = "finishing"
    """All chunks are written; the whole is being checked and put in place."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS: Final = frozenset({State.FAILED, State.CANCELLED})
NEXT: Final = {
    State.IDLE: _ENDS | {State.ACTIVE, State.PAUSED, State.FINISHING},
    State.ACTIVE: _ENDS | {State.IDLE, State.PAUSED, State.FINISHING},
    State.PAUSED: _ENDS | {State.IDLE, State.ACTIVE, State.FINISHING},
    State.FINISHING: _ENDS | {State.PAUSED, State.DONE},
    State.DONE: frozenset[State](),
    State.FAILED: frozenset[State](),
    State.CANCELLED: frozenset[State](),
}
"""Which states may follow each; docs/architecture.md draws this table."""


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
        policy: ReceivePolicy | None = None,
        allocate: Allocate = plain_buffer,
    ) -> None:
        """Begin, or go on with what an earlier run has written.

        `size` is the offer's; `have` the bitmap of what is on disk, as a re-hash found it; `finish`
        what an earlier Checkpoint recorded. `limit_bytes` is what was accepted: a stream that turns
        out longer pauses for good (`Exceeded`). `allocate` makes the buffers that chunks are put together in.
        """
        self.file_id = file_id
        self.state = State.IDLE
        self.cause: str | None = None
        """Why it failed, was cancelled or is paused."""
        self.peer_pause: str | None = None
        """Why the sender has paused, while it has: nothing is asked for then."""
        self._policy = policy or ReceivePolicy()
        self._intake = Intake(
            file_id=file_id,
            geometry=Geometry(chunk_log2, finish.size if finish is not None else size),
            have=have,
            finish=finish,
            limit_bytes=limit_bytes,
            policy=self._policy,
            send=self._send,
            fail=self._fail,
            exceed=self._exceed,
            allocate=allocate,
        )
        self._patience = self._intake.patience
        self._commands: list[ReceiveCommand] = []
        self._session_up = False
        self._checks = 0
        self._exceeded = False
        self._dirty = False
        self._checkpoint_s = 0.0
        self._finish_if_whole()

    # -- what is known

    @property
    def finish(self) -> wire.Finish | None:
        """Size, count and root, once the sender has named them."""
        return self._intake.finish

    @property
    def progress_bytes(self) -> int:
        """Plaintext bytes that are checked and written."""
        return self._intake.progress_bytes

    @property
    def have(self) -> bytes:
        """Bitmap of the chunks that are checked and written."""
        have = self._intake.have
        return have.to_bitmap(self._intake.geometry.count or have.stop)

    @property
    def checking(self) -> bool:
        """Whether a `Verify` is under way."""
        return self._checks > 0

    @property
    def ended(self) -> bool:
        """Whether the transfer is over, for whatever reason."""
        return not NEXT[self.state]

    @property
    def wants_care(self) -> bool:
        """Whether `take` would return something now. After most segments it would not."""
        intake = self._intake
        return (
            bool(self._commands)
            or intake.wants_to_ask
            or (self._checks < CHECKS and intake.worth_checking)
        )

    @property
    def next_timer_s(self) -> float | None:
        """When to call `on_timer` and `take`, or None."""
        due: list[float] = []
        if self._intake.waiting and self.peer_pause is None:
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
        self.peer_pause = None  # A sender that is still paused will say so again.
        if self.state is State.ACTIVE:
            self.session_down()
            self._session_up = True
        if self.state is State.PAUSED:
            self._say_paused()
        if self.state is State.IDLE:
            self._enter(State.ACTIVE)
            self._begin(now_s)
            if not self._intake.have:
                self._send(wire.Accept(file_id=self.file_id))

    def session_down(self) -> None:
        """Stop asking: what was in flight is lost."""
        self._session_up = False
        self._intake.drop()
        if self.state is State.ACTIVE:
            self._enter(State.IDLE)

    def pause(self, cause: str) -> None:
        """Stop asking until `resume`, and tell the sender."""
        if self.state in (State.IDLE, State.ACTIVE):
            self._intake.drop()
            self._enter(State.PAUSED)
            self.cause = cause
            self._say_paused()

    def resume(self, now_s: float) -> None:
        """Go on after `pause`, `store_failed` or `finalize_postponed`."""
        if self.state is State.PAUSED and not self._exceeded:
            self.cause = None
            self._enter(State.ACTIVE if self._session_up else State.IDLE)
            self._begin(now_s)
            self._finish_if_whole()

    def cancel(self, reason: str) -> None:
        """Give up the file and tell the sender."""
        if not self.ended:
            self._send(wire.Cancel(file_id=self.file_id, reason=clip_reason(reason)))
            self._end(State.CANCELLED, reason)

    def verified(self, good: Iterable[int], bad: Iterable[int], now_s: float) -> None:
        """Take the outcome of a `Verify`: which chunks are written, and which were wrong."""
        self._checks -= 1
        if self._intake.written(good, now_s):
            self._dirty = True
        self._intake.wrong(bad)
        self._finish_if_whole()

    def store_failed(self, indexes: Iterable[int], cause: str) -> None:
        """Note that these chunks of a `Verify` could not be written: pause; they are asked for again later."""
        self._checks -= 1
        self._intake.unwritten(indexes)
        self.pause(cause)

    def finalized(self) -> None:
        """Note that the file is in place and recorded, and tell the sender."""
        if self.state is State.FINISHING:
            self._enter(State.DONE)
            self._intake.drop()
            self._send(wire.Complete(file_id=self.file_id))
            self._commands.append(Completed())

    def finalize_failed(self, cause: str) -> None:
        """Note that the leaves do not give the root."""
        self._fail(cause)

    def finalize_postponed(self, cause: str) -> None:
        """Note that the file could not be finished because of the disk: pause and say so; `resume` tries again."""
        if self.state is State.FINISHING:
            self._enter(State.PAUSED)
            self.cause = cause
            self._say_paused()

    def on_timer(self, now_s: float) -> None:
        """Ask again for what has not come, if it is time."""
        if not self._intake.waiting or self.peer_pause is not None:
            return
        stall_due_s = self._patience.stall_due_s
        if stall_due_s is not None and now_s >= stall_due_s:
            self._patience.stalled = True
            self._commands.append(Stalled(cause=f"waiting for {self._intake.awaited}"))
        if now_s < self._patience.ask_due_s:
            return
        asks = self._patience.ran_out(now_s, counts=not self._intake.source_may_be_slow)
        if asks > self._policy.max_silent_asks:
            self._fail(f"{self._intake.awaited} was asked for {asks} times and never came")
        else:
            self._intake.again()

    def take(self, now_s: float) -> list[ReceiveCommand]:
        """Return the commands to carry out now, in order.

        Call it after a batch of events rather than after each: requests and checks are then batched
        too.
        """
        if self.state is State.ACTIVE and self.peer_pause is None:
            self._intake.ask(now_s)
        while self._checks < CHECKS and self._intake.worth_checking:
            self._checks += 1
            self._commands.append(Verify(chunks=self._intake.check_batch()))
        if self._checkpoint_wanted() and now_s >= self._checkpoint_s:
            self._checkpoint(now_s)
        commands, self._commands = self._commands, []
        return commands

    # -- what the peer sends

    def on_segment(self, segment: Segment, now_s: float) -> None:
        """Take a piece of a chunk."""
        self._intake.on_segment(segment, now_s)

    def on_leaves(self, page: wire.Leaves) -> None:
        """Take a page of leaves: those of chunks that were asked for."""
        if not self._over():
            self._intake.on_leaves(page)

    def on_finish(self, finish: wire.Finish) -> None:
        """Take size, count and root of the file: believed once, and only if they fit the rest."""
        if not self._over() and self._intake.on_finish(finish):
            self._dirty = True
            self._finish_if_whole()

    def on_pause(self, pause: wire.Pause, now_s: float) -> None:
        """Note that the sender has paused, and ask for nothing; or that it goes on, and ask anew."""
        if pause.paused:
            self.peer_pause = pause.reason
        elif self.peer_pause is not None:
            self.peer_pause = None
            if self.state is State.ACTIVE:
                self._intake.drop()
                self._begin(now_s)

    def on_cancel(self, reason: str) -> None:
        """Note that the sender has given up the file."""
        if not self.ended:
            self._end(State.CANCELLED, reason)
            self._commands.append(Cancelled(cause=reason))

    # -- within

    def _begin(self, now_s: float) -> None:
        self._intake.begin(now_s)
        self._checkpoint_s = max(self._checkpoint_s, now_s + self._policy.checkpoint_s)

    def _say_paused(self) -> None:
        reason = clip_reason(self.cause or "")
        self._send(wire.Pause(file_id=self.file_id, paused=True, reason=reason))

    def _finish_if_whole(self) -> None:
        if self.finish is None:
            # If everything else is here, the end is asked for at once.
            self._intake.want_end |= self._intake.all_come
        elif (
            self.state in (State.IDLE, State.ACTIVE) and len(self._intake.have) == self.finish.count
        ):
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
        """Whether the transfer has ended. If so, a sender that does not know yet is told again."""
        if self.state is State.DONE:
            self._send(wire.Complete(file_id=self.file_id))
        return self.ended

    def _fail(self, cause: str) -> None:
        if not self.ended:
            self._send(wire.Cancel(file_id=self.file_id, reason=clip_reason(cause)))
            self._end(State.FAILED, cause)
            self._commands.append(Failed(cause=cause))

    def _exceed(self, cause: str) -> None:
        if self.state is State.ACTIVE:
            self._exceeded = True
            self.pause(cause)
            self._commands.append(Exceeded(cause=cause))

    def _end(self, state: State, cause: str) -> None:
        self._intake.drop()
        self._enter(state)
        self.cause = cause

    def _enter(self, state: State) -> None:
        if state not in NEXT[self.state]:
            raise RuntimeError(f"a transfer cannot go from {self.state.value} to {state.value}")
        self.state = state
        self._intake.active = state is State.ACTIVE

    def _send(self, message: wire.Inner) -> None:
        self._commands.append(SendControl(message=message))
