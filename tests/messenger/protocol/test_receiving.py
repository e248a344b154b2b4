"""What a receiver says to each event: what it asks for, when it checks, and why it gives up."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from peerpost.protocol import transfer as commands
from peerpost.protocol.receiving import ReceivePolicy, Receiving, State
from peerpost.protocol.waiting import Trouble
from peerpost.store.files.chunks import Sealer
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.segment import Segment
from tests.support.chunk import root

LOG2 = 14
CHUNK = 1 << LOG2
POLICY = ReceivePolicy(max_window_bytes=8 * CHUNK)
FULL = Trouble(cause="No space left on device", told="the disk is full", next_try_s=1e9)


class Content:
    """A file as its sender has it."""

    def __init__(self, size: int) -> None:
        draw = random.Random(size)
        self.size, self.file_id, self.key = size, draw.randbytes(16), draw.randbytes(32)
        sealer = Sealer(file_id=self.file_id, key=self.key, chunk_log2=LOG2)
        data = memoryview(draw.randbytes(size))
        self.leaves = sealer.leaves(0, data, last=True)
        self.sealed = [bytes(part) for part in sealer.seal(0, data, self.leaves, last=True)]
        self.root = root(self.leaves)

    def page(self, first: int, count: int = 1) -> wire.Leaves:
        leaves = self.leaves[32 * first : 32 * (first + count)]
        return wire.Leaves(file_id=self.file_id, first=first, leaves=leaves)

    def segments(self, index: int) -> list[Segment]:
        return [self.segment(index, at) for at in range(0, len(self.sealed[index]), 4096)]

    def segment(self, index: int, offset: int) -> Segment:
        data = self.sealed[index][offset : offset + 4096]
        return Segment(file_id=self.file_id, index=index, offset=offset, data=data)

    def finish(self, *, size: int | None = None, count: int | None = None) -> wire.Finish:
        size = self.size if size is None else size
        count = max(1, -(-size // CHUNK)) if count is None else count
        return wire.Finish(file_id=self.file_id, size=size, count=count, root=self.root)


@dataclass
class Rig:
    """A receiver that is asked for its commands after each event."""

    content: Content
    machine: Receiving
    now_s: float = 10.0

    def take(self) -> list[commands.ReceiveCommand]:
        return self.machine.take(self.now_s)

    @property
    def in_memory(self) -> int:
        """How many chunks are asked for or held in memory."""
        return 0 if self.machine._intake is None else len(self.machine._intake)

    def asked(self) -> list[tuple[int, int]]:
        """Return the ranges of the requests made now."""
        return [ranges for pull in self.pulls() for ranges in pull.ranges]

    def pulls(self) -> list[wire.Pull]:
        sent = [c.message for c in self.take() if isinstance(c, commands.SendControl)]
        return [message for message in sent if isinstance(message, wire.Pull)]

    def checked(self) -> list[commands.WholeChunk]:
        return [x for c in self.take() if isinstance(c, commands.Verify) for x in c.chunks]

    def give(self, index: int, *, leaf: bool = True) -> None:
        if leaf:
            self.machine.on_leaves(self.content.page(index))
        for segment in self.content.segments(index):
            self.machine.on_segment(segment, self.now_s)

    def cause(self) -> str:
        """Return why it has failed: told to the sender and to the driver in the same words."""
        told = self.take()
        (failed,) = [c for c in told if isinstance(c, commands.Failed)]
        sent = [c.message for c in told if isinstance(c, commands.SendControl)]
        assert [m.reason for m in sent if isinstance(m, wire.Cancel)] == [failed.cause]
        assert self.machine.state is State.FAILED
        return failed.cause


def begin(content: Content, *, stream: bool = False, **more: object) -> Rig:
    """Return a receiver that has yet to learn what is on its disk."""
    machine = Receiving(
        file_id=content.file_id,
        chunk_log2=LOG2,
        size=None if stream else content.size,
        policy=POLICY,
        **more,  # type: ignore[arg-type]
    )
    return Rig(content, machine)


def receive(
    content: Content,
    *,
    stream: bool = False,
    have: bytes = b"",
    finish: wire.Finish | None = None,
    **more: object,
) -> Rig:
    rig = begin(content, stream=stream, **more)
    assert rig.take() == [commands.Prepare()]
    rig.machine.prepared(have, finish, rig.now_s)
    rig.machine.session_up(rig.now_s)
    return rig


def test_it_asks_for_a_window_and_for_more_as_it_empties() -> None:
    rig = receive(Content(40 * CHUNK))
    assert rig.asked() == [(0, 8)]
    for index in range(4):
        rig.give(index)
    (batch,) = [c for c in rig.take() if isinstance(c, commands.Verify)]
    assert [chunk.index for chunk in batch.chunks] == [0, 1, 2, 3]
    rig.machine.verified([0, 1, 2, 3], [], rig.now_s)
    assert rig.asked() == [(8, 4)]


def test_there_are_never_more_checks_at_once_than_two() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    for index in (0, 1):
        rig.give(index)
        assert [chunk.index for chunk in rig.checked()] == [index]
    rig.give(2)
    rig.give(3)
    assert rig.checked() == []
    assert rig.machine.checking
    rig.machine.verified([1], [], rig.now_s)
    assert [chunk.index for chunk in rig.checked()] == [2, 3]


def test_what_was_passed_over_is_asked_for_again_at_once() -> None:
    rig = receive(Content(8 * CHUNK))
    assert rig.asked() == [(0, 8)]
    for index in range(3, 8):
        rig.give(index)
    assert rig.asked() == [(0, 3)]


def test_a_wrong_chunk_needs_a_new_leaf_too() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.give(0)
    rig.take()
    rig.machine.verified([], [0], rig.now_s)
    assert rig.asked() == [(0, 1)]
    rig.give(0, leaf=False)
    assert rig.checked() == []
    rig.machine.on_leaves(rig.content.page(0))
    assert [chunk.index for chunk in rig.checked()] == [0]


def test_a_leaf_that_is_missing_is_asked_for_alone_and_again_by_timer() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.give(0, leaf=False)
    (pull,) = rig.pulls()
    assert (pull.leaves_first, pull.leaves_count, pull.ranges) == (0, 1, ())
    assert rig.pulls() == []
    due_s = rig.machine.next_timer_s
    assert due_s is not None
    rig.now_s = due_s
    rig.machine.on_timer(rig.now_s)
    assert [(pull.ranges, pull.leaves_count) for pull in rig.pulls()] == [
        (((1, 7),), 0),
        ((), 1),
        ((), 0),  # The end of the file is not known either.
    ]


def test_whether_a_chunk_is_the_last_must_be_known_before_it_is_checked() -> None:
    rig = receive(Content(2 * CHUNK), stream=True)
    rig.take()
    rig.give(0)
    assert rig.checked() == []
    rig.give(1)
    assert [(chunk.index, chunk.last) for chunk in rig.checked()] == [(0, False)]
    rig.machine.verified([0], [], rig.now_s)
    rig.machine.on_finish(rig.content.finish())
    assert [(chunk.index, chunk.last) for chunk in rig.checked()] == [(1, True)]


def test_the_short_last_chunk_of_a_stream_is_whole_once_the_end_is_known() -> None:
    rig = receive(Content(50), stream=True)
    rig.take()
    rig.give(0)
    assert rig.checked() == []
    rig.machine.on_finish(rig.content.finish())
    assert [(chunk.index, chunk.last) for chunk in rig.checked()] == [(0, True)]


def test_the_last_chunk_of_a_stream_that_was_longer_than_the_end_is_wrong() -> None:
    rig = receive(Content(CHUNK), stream=True)
    rig.take()
    rig.give(0)
    rig.machine.on_finish(rig.content.finish(size=50))
    assert rig.asked() == [(0, 1)]


def test_one_wrong_answer_while_no_session_is_up_holds_no_memory() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.give(0)
    rig.take()
    rig.machine.session_down()
    rig.machine.verified([], [0], rig.now_s)
    assert rig.in_memory == 0
    rig.machine.session_up(rig.now_s)
    assert rig.asked() == [(0, 8)]


def test_data_before_the_session_counts_as_nobodys() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.machine.session_down()
    rig.give(0)
    assert rig.in_memory == 0
    assert rig.machine.progress_bytes == 0


@pytest.mark.parametrize(
    ("stream", "finish", "cause"),
    [
        (False, {"size": 9 * CHUNK}, "another size than it offered"),
        (False, {"count": 9}, "a number of chunks that does not fit the size"),
        (True, {"count": 9}, "a number of chunks that does not fit the size"),
        (True, {"size": 2 * CHUNK}, "an end before what it had sent"),
        (True, {"size": 3 * CHUNK}, "an end where it had gone on"),
        (True, {"size": 3 * CHUNK - 1}, "an end where it had gone on"),
        (True, {"size": 4 * CHUNK}, "a chunk beyond the end of the file"),
    ],
)
def test_a_lie_about_the_end(stream: bool, finish: dict[str, int], cause: str) -> None:
    """Chunks 0 to 2 are written, as not the last; 4 has come whole."""
    rig = receive(Content(8 * CHUNK), stream=stream, limit_bytes=32 * CHUNK)
    rig.take()
    for index in range(4):
        rig.give(index)
    chunks = [chunk.index for chunk in rig.checked()]
    rig.machine.verified([index for index in chunks if index < 3], [], rig.now_s)
    rig.give(4)
    rig.machine.on_finish(rig.content.finish(**finish))
    assert cause in rig.cause()


@pytest.mark.parametrize("by", ["leaves", "finish"])
def test_a_stream_longer_than_accepted_waits_for_another_machine(by: str) -> None:
    rig = receive(Content(8 * CHUNK), stream=True, limit_bytes=2 * CHUNK)
    rig.take()
    rig.machine.on_leaves(rig.content.page(0, 2))
    rig.give(0)
    (chunk,) = rig.checked()
    rig.machine.verified([chunk.index], [], rig.now_s)
    if by == "leaves":
        rig.machine.on_leaves(rig.content.page(1, 2))
    else:
        rig.machine.on_finish(rig.content.finish())
    taken = rig.take()
    (exceeded,) = [c for c in taken if isinstance(c, commands.Exceeded)]
    assert exceeded.cause == f"the stream is longer than the {2 * CHUNK} bytes accepted"
    (said,) = [c.message for c in taken if isinstance(c, commands.SendControl)]
    assert isinstance(said, wire.Pause)
    assert (said.paused, said.reason) == (True, exceeded.cause)
    rig.machine.resume(rig.now_s)
    assert (rig.machine.state, rig.machine.finish) == (State.PAUSED, None)
    assert rig.machine.have == b"\1"
    assert rig.machine.next_timer_s is None or not rig.in_memory


def test_a_stream_longer_than_any_file_fails() -> None:
    rig = receive(Content(8 * CHUNK), stream=True)
    rig.take()
    last = limits.MAX_FILE_BYTES // CHUNK
    rig.machine.on_leaves(wire.Leaves(file_id=rig.content.file_id, first=last, leaves=bytes(32)))
    assert "longer than" in rig.cause()


def test_a_second_end_is_believed_only_if_it_is_the_first() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.machine.on_finish(rig.content.finish())
    rig.machine.on_finish(rig.content.finish())
    assert rig.machine.state is State.ACTIVE
    rig.machine.on_finish(rig.content.finish(size=8 * CHUNK - 1))
    assert "two different ends" in rig.cause()


def test_done_is_said_again_to_a_sender_that_does_not_know() -> None:
    rig = receive(Content(1))
    rig.take()
    rig.give(0)
    rig.machine.on_finish(rig.content.finish())
    rig.take()
    rig.machine.verified([0], [], rig.now_s)
    assert [type(c) for c in rig.take()] == [commands.Finalize]
    rig.machine.finalized()
    assert [type(c) for c in rig.take()] == [commands.SendControl, commands.Completed]
    rig.machine.on_finish(rig.content.finish())
    (again,) = rig.take()
    assert isinstance(again, commands.SendControl)
    assert isinstance(again.message, wire.Complete)
    assert rig.machine.ended


def test_a_disk_that_is_full_at_the_end_pauses_and_tries_again() -> None:
    rig = receive(Content(1), have=b"\1", finish=Content(1).finish())
    assert rig.machine.state is State.FINISHING
    rig.take()
    rig.machine.finalize_postponed(FULL)
    assert (rig.machine.state, rig.machine.cause) == (State.PAUSED, "the disk is full")
    told, held_up = rig.take()
    assert held_up == commands.HeldUp(cause=FULL.cause)
    assert isinstance(told, commands.SendControl)
    assert isinstance(told.message, wire.Pause)
    assert (told.message.paused, told.message.reason) == (True, "the disk is full")
    rig.machine.resume(rig.now_s)
    assert [type(c) for c in rig.take()] == [commands.Finalize]


def test_silence_is_counted_and_slowness_is_not() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    segments = iter(s for index in range(8) for s in rig.content.segments(index))
    for _ in range(20):  # A segment a minute keeps it alive.
        rig.now_s += 60
        rig.machine.on_timer(rig.now_s)
        rig.take()
        rig.machine.on_segment(next(segments), rig.now_s)
    assert rig.machine.state is State.ACTIVE
    for _ in range(POLICY.max_silent_asks + 1):
        due_s = rig.machine.next_timer_s
        assert due_s is not None
        rig.now_s = max(rig.now_s, due_s) + POLICY.ask_timeout_max_s
        rig.machine.on_timer(rig.now_s)
        if not rig.machine.ended:
            rig.take()
    assert f"asked for {POLICY.max_silent_asks + 1} times and never came" in rig.cause()


def said_pauses(rig: Rig) -> list[bool]:
    controls = [c.message for c in rig.take() if isinstance(c, commands.SendControl)]
    return [message.paused for message in controls if isinstance(message, wire.Pause)]


def pulled(rig: Rig) -> list[wire.Pull]:
    controls = [c.message for c in rig.take() if isinstance(c, commands.SendControl)]
    return [message for message in controls if isinstance(message, wire.Pull)]


def test_a_paused_sender_is_asked_for_nothing_and_waited_for() -> None:
    rig = receive(Content(8 * CHUNK))
    assert len(pulled(rig)) == 1
    pause = wire.Pause(file_id=rig.content.file_id, paused=True, reason="for the night")
    rig.machine.on_pause(pause, rig.now_s)
    assert rig.machine.peer_pause == "for the night"
    assert rig.machine.next_timer_s is None
    rig.now_s += 40 * 3600
    rig.machine.on_timer(rig.now_s)
    assert rig.take() == []
    rig.give(0)  # what was on its way still counts
    assert [type(c) for c in rig.take()] == [commands.Verify]
    rig.machine.verified([0], [], rig.now_s)
    rig.machine.on_pause(wire.Pause(file_id=rig.content.file_id, paused=False), rig.now_s)
    (again,) = pulled(rig)
    assert again.ranges == ((1, 7),)
    assert wire.had_bytes(again) == CHUNK


def test_a_sender_that_does_not_say_it_again_has_not_paused() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.machine.on_pause(wire.Pause(file_id=rig.content.file_id, paused=True), rig.now_s)
    rig.machine.session_down()
    rig.machine.session_up(rig.now_s)
    assert rig.machine.peer_pause is None
    assert pulled(rig)


def test_a_pause_is_told_to_the_sender_at_once_and_in_each_session() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.machine.pause("paused by the receiver")
    assert said_pauses(rig) == [True]
    rig.machine.session_down()
    rig.machine.session_up(rig.now_s)
    assert said_pauses(rig) == [True]
    assert rig.machine.next_timer_s is None
    rig.machine.resume(rig.now_s)
    assert len(pulled(rig)) == 1


def test_a_long_wait_is_told_once() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.now_s += POLICY.stall_s
    rig.machine.on_timer(rig.now_s)
    assert [c.cause for c in rig.take() if isinstance(c, commands.Stalled)] == [
        "waiting for chunk 0"
    ]
    rig.machine.on_timer(rig.now_s + 1)
    assert not [c for c in rig.take() if isinstance(c, commands.Stalled)]


def test_progress_is_recorded_behind_what_is_written() -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.give(0)
    rig.take()
    rig.machine.verified([0], [], rig.now_s)
    assert not [c for c in rig.take() if isinstance(c, commands.Checkpoint)]
    rig.now_s += POLICY.checkpoint_s
    (recorded,) = [c for c in rig.take() if isinstance(c, commands.Checkpoint)]
    assert (recorded.have, recorded.progress_bytes) == (b"\1", CHUNK)
    assert not [c for c in rig.take() if isinstance(c, commands.Checkpoint)]


@pytest.mark.parametrize("end", ["cancel", "on_cancel", "fail"])
def test_what_comes_after_the_end_changes_nothing(end: str) -> None:
    rig = receive(Content(8 * CHUNK))
    rig.take()
    rig.give(0)
    if end == "fail":
        rig.machine.finalize_failed("the leaves do not add up")
    else:
        getattr(rig.machine, end)("enough")
    rig.take()
    state = rig.machine.state
    rig.give(1)
    rig.machine.on_finish(rig.content.finish())
    rig.machine.verified([0], [1], rig.now_s)
    rig.machine.pause("x")
    rig.machine.resume(rig.now_s)
    rig.machine.session_down()
    rig.machine.session_up(rig.now_s)
    rig.machine.cancel("again")
    rig.machine.on_cancel("again")
    rig.machine.finalized()
    assert rig.take() == []
    assert rig.machine.state is state
    assert rig.machine.next_timer_s is None
