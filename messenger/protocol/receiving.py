"""The receiver's side of one file: it asks, assembles, has chunks checked, asks again, ends with a cause.

The receiver drives. It keeps a window of chunks asked for, and asks

- for more as the window empties;
- again at once for a chunk that was wrong or that the sender passed over;
- again by timer, at growing intervals, for whatever has not come, the end of the file included;
- for everything missing when a session begins, because what was in flight in the last one is lost.

Every control message may be lost, doubled or late without harm: the file depends only on chunks that
were opened, checked against their leaf and written, and on a root that fits all leaves.

The machine has a seam where two lifetimes meet: this module has what lasts as long as the transfer (its
state, why it waits, how it ends); `intake` has the chunks, and begins anew with each opening of the part.

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
    HeldUp,
    LetGo,
    Prepare,
    ReceiveCommand,
    Rejected,
    SendControl,
    Stalled,
    TryAgain,
    Verify,
    clip_reason,
)
from .waiting import Trouble, Waiting

__all__ = ["NEXT", "ReceivePolicy", "Receiving", "State"]

_BITMAP_BYTES_PER_S: Final = 64 << 10
"""How fast checkpoints may write bitmaps: that of a terabyte has 512 KiB, too much for every second."""
CHECKS: Final = 2
"""How many checks run at once: one waits for the disk while the other one uses the processor."""


class State(enum.Enum):
    """Where a transfer stands."""

    PREPARING = "preparing"
    """What is on the disk is not known: it is to be checked, at first and after an error of ours."""
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
    State.PREPARING: frozenset(
        {State.IDLE, State.ACTIVE, State.PAUSED, State.FINISHING, State.CANCELLED}
    ),
    State.IDLE: _ENDS | {State.ACTIVE, State.PAUSED, State.FINISHING, State.PREPARING},
    State.ACTIVE: _ENDS | {State.IDLE, State.PAUSED, State.FINISHING, State.PREPARING},
    State.PAUSED: _ENDS | {State.IDLE, State.ACTIVE, State.FINISHING, State.PREPARING},
    State.FINISHING: _ENDS | {State.PAUSED, State.DONE, State.PREPARING},
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
        limit_bytes: int = limits.MAX_FILE_BYTES,
        policy: ReceivePolicy | None = None,
        allocate: Allocate = plain_buffer,
    ) -> None:
        """Begin, by having checked what is on the disk.

        `size` is the offer's. `limit_bytes` is what was accepted: a stream that turns out longer pauses for
        good (`Exceeded`). `allocate` makes the buffers that chunks are put together in.
        """
        self.file_id = file_id
        self.state = State.PREPARING
        self.peer_pause: str | None = None
        """Why the sender has paused, while it has: nothing is asked for then."""
        self._chunk_log2, self._size, self._limit_bytes = chunk_log2, size, limit_bytes
        self._policy = policy or ReceivePolicy()
        self._allocate = allocate
        self._intake: Intake | None = None
        """The chunks, while it is known which are here."""
        self._opened = False
        """Whether it has been prepared once."""
        self._waiting = Waiting()
        self._end_cause: str | None = None
        self._excess: str | None = None
        """Why it has paused for good, if so."""
        self._commands: list[ReceiveCommand] = [Prepare()]
        self._session_up = False
        self._checks = 0
        self._dirty = False
        self._checkpoint_s = 0.0

    # -- what is known

    @property
    def cause(self) -> str | None:
        """Why it failed, was cancelled or waits."""
        return self._end_cause or self._excess or self._waiting.told

    @property
    def paused(self) -> bool:
        """Whether our user has paused it."""
        return self._waiting.paused is not None

    @property
    def exceeded(self) -> bool:
        """Whether it is longer than what was accepted: it has paused for good."""
        return self._excess is not None

    @property
    def finish(self) -> wire.Finish | None:
        """Size, count and root, once the sender has named them; None while it is preparing."""
        return None if self._intake is None else self._intake.finish

    @property
    def progress_bytes(self) -> int | None:
        """Plaintext bytes that are checked and written; None while that is not known."""
        return None if self._intake is None else self._intake.progress_bytes

    @property
    def have(self) -> bytes:
        """Bitmap of the chunks that are checked and written, as far as that is known."""
        if self._intake is None:
            return b""
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
        if intake is None:
            return bool(self._commands)
        return (
            bool(self._commands)
            or intake.wants_to_ask
            or (self._checks < CHECKS and intake.worth_checking)
        )

    @property
    def next_timer_s(self) -> float | None:
        """When to call `take` even if nothing happens, or None."""
        due = [self._waiting.due_s, self._silence_due_s]
        if self._checkpoint_wanted():
            due.append(self._checkpoint_s)
        return min((at_s for at_s in due if at_s is not None), default=None)

    @property
    def _silence_due_s(self) -> float | None:
        """When the sender has been silent for too long, if it is its turn."""
        if self._intake is None or self.state is not State.ACTIVE or self.peer_pause is not None:
            return None
        return self._intake.due_s

    # -- what the driver tells

    def prepared(self, have: bytes, finish: wire.Finish | None, now_s: float) -> None:
        """Take the outcome of a `Prepare`, and go on from there.

        `have` is the bitmap of what is on disk, as a re-hash found it; `finish` what an earlier Checkpoint recorded.
        """
        if self.state is not State.PREPARING:
            return
        self._intake = Intake(
            file_id=self.file_id,
            geometry=Geometry(self._chunk_log2, self._size if finish is None else finish.size),
            have=have,
            finish=finish,
            limit_bytes=self._limit_bytes,
            policy=self._policy,
            allocate=self._allocate,
        )
        self._opened = True
        self._waiting.over()
        if self._intake.is_whole:
            self._finalize(self._intake.finish)
        elif self.paused:
            self._enter(State.PAUSED)
            self._say_paused()
        elif self._session_up:
            self._start(self._intake, now_s)
        else:
            self._enter(State.IDLE)

    def session_up(self, now_s: float) -> None:
        """Start asking: a session with the sender has begun."""
        if self.state is State.ACTIVE:
            self.session_down()
        self._session_up = True
        self.peer_pause = None  # A sender that is still paused will say so again.
        if self.state is State.PAUSED or (
            self.state is State.PREPARING and self._waiting.trouble is not None
        ):
            self._say_paused()
        if self.state is State.IDLE and self._intake is not None:
            self._start(self._intake, now_s)

    def _start(self, intake: Intake, now_s: float) -> None:
        self._enter(State.ACTIVE)
        self._begin(intake, now_s)
        if not intake.have:
            self._send(wire.Accept(file_id=self.file_id))

    def session_down(self) -> None:
        """Stop asking: what was in flight is lost."""
        self._session_up = False
        self._drop()
        if self.state is State.ACTIVE:
            self._enter(State.IDLE)

    def pause(self, reason: str) -> None:
        """Stop asking until `resume`, and tell the sender."""
        if not self.ended:
            told = self.cause
            self._waiting.paused = reason
            self._stop_asking(told)

    def resume(self, now_s: float) -> None:
        """Go on after `pause`. If the disk was in the way, it is tried again at once."""
        self._waiting.paused = None
        if self.state is State.PAUSED:
            self._go_on(now_s)

    def held_up(self, trouble: Trouble) -> None:
        """Note that the disk is in the way for now: pause and say so, until `try_again`."""
        if self.exceeded or self._waiting.held_up:
            return
        if self.state in (State.IDLE, State.ACTIVE, State.PAUSED):
            told = self.cause
            self._waiting.hold_up(trouble)
            self._stop_asking(told)
            self._commands.append(HeldUp(cause=trouble.cause))

    def broken(self, trouble: Trouble) -> None:
        """Note an error of ours after which it must be checked what is on the disk."""
        preparing = self.state is State.PREPARING
        if self.ended or (preparing and self._waiting.held_up):
            return
        self._waiting.hold_up(trouble, letting_go=True)
        self._intake, self._excess = None, None
        self._checks, self._dirty = 0, False
        self._commands.clear()
        if not preparing:
            self._enter(State.PREPARING)
        self._say_paused()
        self._commands.append(LetGo(cause=trouble.cause))

    def let_go(self) -> None:
        """Note that the file is closed."""
        self._waiting.let_go()

    def wait_on(self, next_try_s: float) -> None:
        """Wait once more, because trying would be in vain."""
        self._waiting.wait_on(next_try_s)

    def try_again(self, now_s: float) -> None:
        """Go on after an error of ours, unless the user has paused it meanwhile."""
        if self.state is State.PREPARING:
            self._commands.append(Prepare())
            return
        self._waiting.over()
        if self.state is State.PAUSED and not self.paused:
            self._go_on(now_s)

    def gone(self) -> None:
        """Note that the transfer has ended elsewhere: nothing is left to tell or to record."""
        if not self.ended:
            self._end(State.CANCELLED, "it has ended")
            self._commands.clear()

    def cancel(self, reason: str) -> None:
        """Give up the file and tell the sender."""
        if self.ended:
            return
        # What was never opened was never asked for either.
        message = wire.Cancel if self._opened else wire.Refuse
        self._send(message(file_id=self.file_id, reason=clip_reason(reason)))
        self._end(State.CANCELLED, reason)
        self._commands.append(Rejected(cause=reason))

    def verified(self, good: Iterable[int], bad: Iterable[int], now_s: float) -> None:
        """Take the outcome of a `Verify`: which chunks are written, and which were wrong."""
        if (intake := self._checked()) is not None:
            self._dirty |= intake.checked(good, bad, now_s)
            self._judge(intake)
            self._finish_if_whole(intake)

    def store_failed(self, indexes: Iterable[int], trouble: Trouble) -> None:
        """Note that these chunks of a `Verify` could not be written: pause; they are asked for again later."""
        if (intake := self._checked()) is not None:
            intake.unwritten(indexes)
            self._judge(intake)
            self.held_up(trouble)

    def _checked(self) -> Intake | None:
        """Return what the outcome of a check belongs to, unless the file was let go meanwhile."""
        if self._intake is not None:
            self._checks -= 1
        return self._intake

    def finalized(self) -> None:
        """Note that the file is in place and recorded, and tell the sender."""
        if self.state is State.FINISHING:
            self._enter(State.DONE)
            self._drop()
            self._send(wire.Complete(file_id=self.file_id))
            self._commands.append(Completed())

    def finalize_failed(self, cause: str) -> None:
        """Note that the leaves do not give the root."""
        if self.state is not State.PREPARING:
            self._fail(cause)

    def finalize_postponed(self, trouble: Trouble) -> None:
        """Note that the file could not be finished because of the disk: pause and say so, until `try_again`."""
        if self.state is State.FINISHING:
            self._enter(State.PAUSED)
            self._waiting.hold_up(trouble)
            self._say_paused()
            self._commands.append(HeldUp(cause=trouble.cause))

    def on_timer(self, now_s: float) -> None:
        """Do what it is time for: ask again for what has not come, or try again after an error of ours."""
        if self._waiting.try_(now_s):
            self._commands.append(TryAgain())
        due_s, intake = self._silence_due_s, self._intake
        if intake is not None and due_s is not None and due_s <= now_s:
            stalled = intake.on_timer(now_s)
            if stalled is not None:
                self._commands.append(Stalled(cause=stalled))
            self._judge(intake)

    def take(self, now_s: float) -> list[ReceiveCommand]:
        """Return the commands to carry out now, in order.

        Call it after a batch of events rather than after each: requests and checks are then batched
        too.
        """
        due_s, intake = self.next_timer_s, self._intake
        if due_s is not None and due_s <= now_s:
            self.on_timer(now_s)
        if intake is not None:
            if self.state is State.ACTIVE and self.peer_pause is None:
                self._commands += [SendControl(message=pull) for pull in intake.ask(now_s)]
            while self._checks < CHECKS and intake.worth_checking:
                self._checks += 1
                self._commands.append(Verify(chunks=intake.check_batch()))
        if self._checkpoint_wanted() and now_s >= self._checkpoint_s:
            self._checkpoint(now_s)
        commands, self._commands = self._commands, []
        return commands

    # -- what the peer sends

    def on_segment(self, segment: Segment, now_s: float) -> None:
        """Take a piece of a chunk."""
        intake = self._intake
        if intake is None:
            return
        if self.state is State.ACTIVE:
            intake.on_segment(segment, now_s)
        else:
            intake.unasked(len(segment.data))
        if intake.failure is not None:
            self._judge(intake)

    def on_leaves(self, page: wire.Leaves) -> None:
        """Take a page of leaves: those of chunks that were asked for."""
        if not self._over() and self._intake is not None:
            self._intake.on_leaves(page)
            self._judge(self._intake)

    def on_finish(self, finish: wire.Finish) -> None:
        """Take size, count and root of the file: believed once, and only if they fit the rest."""
        if not self._over() and self._intake is not None:
            self._dirty |= self._intake.on_finish(finish)
            self._judge(self._intake)
            self._finish_if_whole(self._intake)

    def on_pause(self, pause: wire.Pause, now_s: float) -> None:
        """Note that the sender has paused, and ask for nothing; or that it goes on, and ask anew."""
        if pause.paused:
            self.peer_pause = pause.reason
        elif self.peer_pause is not None:
            self.peer_pause = None
            if self.state is State.ACTIVE and self._intake is not None:
                self._intake.drop()
                self._begin(self._intake, now_s)

    def on_cancel(self, reason: str) -> None:
        """Note that the sender has given up the file."""
        if not self.ended:
            self._end(State.CANCELLED, reason)
            self._commands.append(Cancelled(cause=reason))

    # -- within

    def _begin(self, intake: Intake, now_s: float) -> None:
        intake.begin(now_s)
        self._checkpoint_s = max(self._checkpoint_s, now_s + self._policy.checkpoint_s)

    def _stop_asking(self, told: str | None) -> None:
        """Pause, and tell the sender why, if it was `told` another reason or none."""
        if self.state in (State.IDLE, State.ACTIVE):
            self._drop()
            self._enter(State.PAUSED)
            self._say_paused()
        elif self.state is State.PAUSED and self.cause != told:
            self._say_paused()

    def _go_on(self, now_s: float) -> None:
        """Ask again after a pause, if nothing stands against it."""
        if self.exceeded or self._intake is None:
            return
        self._waiting.over()
        if self._intake.is_whole:
            self._finalize(self._intake.finish)
            return
        self._enter(State.ACTIVE if self._session_up else State.IDLE)
        self._begin(self._intake, now_s)

    def _say_paused(self) -> None:
        reason = clip_reason(self.cause or "")
        self._send(wire.Pause(file_id=self.file_id, paused=True, reason=reason))

    def _judge(self, intake: Intake) -> None:
        """End or pause if the chunks give cause to; hold none in memory unless they are being asked for."""
        excess, intake.excess = intake.excess, None
        if intake.failure is not None:
            self._fail(intake.failure)
        elif excess is not None and self.state is State.ACTIVE:
            self._excess = excess
            self._stop_asking(None)
            self._commands.append(Exceeded(cause=excess))
        if self.state is not State.ACTIVE:
            intake.drop()

    def _finish_if_whole(self, intake: Intake) -> None:
        if self.state in (State.IDLE, State.ACTIVE) and intake.is_whole:
            self._finalize(intake.finish)

    def _finalize(self, finish: wire.Finish | None) -> None:
        if finish is not None:
            self._enter(State.FINISHING)
            self._commands.append(Finalize(finish=finish))

    def _checkpoint_wanted(self) -> bool:
        return self._dirty and self.state in (State.IDLE, State.ACTIVE, State.PAUSED)

    def _checkpoint(self, now_s: float) -> None:
        have = self.have
        self._dirty = False
        interval_s = max(self._policy.checkpoint_s, len(have) / _BITMAP_BYTES_PER_S)
        self._checkpoint_s = now_s + interval_s
        self._commands.append(
            Checkpoint(have=have, progress_bytes=self.progress_bytes or 0, finish=self.finish)
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

    def _end(self, state: State, cause: str) -> None:
        self._drop()
        self._waiting.over()
        self._enter(state)
        self._end_cause = cause

    def _drop(self) -> None:
        if self._intake is not None:
            self._intake.drop()

    def _enter(self, state: State) -> None:
        if state not in NEXT[self.state]:
            raise RuntimeError(f"a transfer cannot go from {self.state.value} to {state.value}")
        self.state = state

    def _send(self, message: wire.Inner) -> None:
        self._commands.append(SendControl(message=message))
