"""What a sender says to each request: what it reads, what it sends once, and what it refuses."""

from __future__ import annotations

import pytest

from peerpost.protocol import transfer as commands
from peerpost.protocol.sending import Sending, SendPolicy, SendState
from peerpost.protocol.waiting import Trouble
from peerpost.wire import inner as wire

LOG2 = 14
CHUNK = 1 << LOG2
ID = b"f" * 16
POLICY = SendPolicy(ahead_bytes=4 * CHUNK, pulls_per_s=2, pull_burst=4, max_fragments=3)
END = wire.Finish(file_id=ID, size=20 * CHUNK, count=20, root=b"r" * 32)


def sending(*, size: int | None = 20 * CHUNK, up: bool = True, **more: object) -> Sending:
    machine = Sending(file_id=ID, chunk_log2=LOG2, size=size, policy=POLICY, **more)  # type: ignore[arg-type]
    if up:
        machine.session_up()
    return machine


def pull(*ranges: tuple[int, int], leaves: tuple[int, int] = (0, 0)) -> wire.Pull:
    return wire.Pull(file_id=ID, leaves_first=leaves[0], leaves_count=leaves[1], ranges=ranges)


def reads(machine: Sending) -> list[tuple[int, int]]:
    return [(c.first, c.count) for c in machine.take(0.0) if isinstance(c, commands.ReadChunks)]


def give(machine: Sending, first: int, count: int) -> None:
    machine.chunks_read(first, b"l" * 32 * count, [memoryview(b"s")] * count)


def said(machine: Sending) -> list[str]:
    """Return in words what is sent: control messages by type, chunks by number."""
    words = []
    for command in machine.take(0.0):
        if isinstance(command, commands.SendControl):
            words.append(type(command.message).__name__)
        elif isinstance(command, commands.SendChunk):
            words.append(str(command.index))
    return words


def test_leaves_go_before_their_chunks_and_no_further_ahead_than_allowed() -> None:
    machine = sending()
    machine.on_pull(pull((0, 10)), 0.0)
    assert reads(machine) == [(0, 4)]
    assert reads(machine) == []
    give(machine, 0, 4)
    assert said(machine) == ["Leaves", "0", "1", "2", "3"]
    machine.chunk_sent(0)
    machine.chunk_sent(1)
    assert reads(machine) == [(4, 2)]


def test_reads_that_end_out_of_order_are_sent_in_order() -> None:
    machine = sending()
    machine.on_pull(pull((0, 2), (5, 2)), 0.0)
    assert reads(machine) == [(0, 2), (5, 2)]
    give(machine, 5, 2)
    assert said(machine) == []
    give(machine, 0, 2)
    assert said(machine) == ["Leaves", "0", "1", "Leaves", "5", "6"]


def test_what_is_in_hand_is_not_sent_twice() -> None:
    machine = sending()
    machine.on_pull(pull((0, 2)), 0.0)
    assert reads(machine) == [(0, 2)]
    machine.on_pull(pull((0, 3)), 0.0)
    assert reads(machine) == [(2, 1)]
    machine.chunk_sent(0)
    machine.on_pull(pull((0, 1)), 0.0)
    assert reads(machine) == [(0, 1)]


def test_a_request_beyond_the_end_is_answered_by_the_end() -> None:
    machine = sending(finish=END)
    assert said(machine) == ["Finish"]
    machine.on_pull(pull((20, 4)), 0.0)
    assert said(machine) == ["Finish"]
    machine.on_pull(pull(), 0.0)
    assert said(machine) == ["Finish"]


def test_the_end_is_looked_for_once_when_asked_for() -> None:
    machine = sending()
    machine.on_pull(pull(), 0.0)
    machine.on_pull(pull(), 0.0)
    assert [type(c) for c in machine.take(0.0)] == [commands.FindEnd]
    machine.on_pull(pull(), 0.0)
    assert machine.take(0.0) == []
    machine.finished(END)
    assert said(machine) == ["Finish"]


def test_a_stream_owes_what_does_not_exist_yet() -> None:
    machine = sending(size=None, available=1)
    machine.on_pull(pull((0, 4)), 0.0)
    assert reads(machine) == [(0, 1)]
    machine.grown(3)
    assert reads(machine) == [(1, 2)]
    machine.finished(wire.Finish(file_id=ID, size=4 * CHUNK, count=4, root=b"r" * 32))
    told = machine.take(0.0)
    assert isinstance(told[0], commands.SendControl)
    assert isinstance(told[1], commands.ReadChunks)
    assert (told[1].first, told[1].count) == (3, 1)


def test_the_known_end_counts_and_not_what_was_there_before() -> None:
    machine = sending(size=None, available=2, finish=END)
    machine.on_pull(pull((19, 1)), 0.0)
    assert reads(machine) == [(19, 1)]


def test_leaves_alone() -> None:
    machine = sending()
    machine.on_pull(pull(leaves=(18, 1000)), 0.0)
    assert [
        (c.first, c.count) for c in machine.take(0.0) if isinstance(c, commands.ReadLeaves)
    ] == [(18, 2)]
    machine.leaves_read(18, b"l" * 64)
    assert said(machine) == ["Leaves"]
    machine.leaves_read(18, b"l" * 64)
    assert said(machine) == []


def test_too_many_requests_are_dropped() -> None:
    machine = sending()
    for _ in range(4):
        machine.on_pull(pull((0, 1)), 0.0)
    machine.on_pull(pull((3, 1)), 0.0)
    assert reads(machine) == [(0, 1)]
    machine.on_pull(pull((3, 1)), 0.5)
    assert reads(machine) == [(3, 1)]


def test_a_request_in_shreds_costs_no_memory() -> None:
    machine = sending()
    machine.on_pull(pull(*((2 * n, 1) for n in range(8))), 0.0)
    assert reads(machine) == [(0, 1), (2, 1), (4, 1)]


def test_a_receiver_that_has_it_sent_over_and_over_has_to_wait() -> None:
    machine = sending(size=1)
    most = POLICY.max_rounds + POLICY.spare_chunks
    for at in range(most + 1):
        machine.on_pull(pull((0, 1)), float(at))
        machine.take(0.0)
        give(machine, 0, 1)
        machine.chunk_sent(0)
    machine.take(0.0)
    for after_s in (1, 60, 600):
        machine.on_pull(pull((0, 1)), float(most + after_s))
        assert machine.take(0.0) == []
    # What waiting mends ends no file: it is sent once more after a while, and no sooner again.
    assert machine.state is SendState.ACTIVE
    later_s = POLICY.round_s + most
    for expected in ([(0, 1)], []):
        machine.on_pull(pull((0, 1)), later_s)
        assert reads(machine) == expected
        if expected:
            give(machine, 0, 1)
            machine.chunk_sent(0)


def test_what_waits_to_leave_is_not_read_again() -> None:
    machine = sending()
    machine.on_pull(pull((0, 2)), 0.0)
    assert reads(machine) == [(0, 2)]
    give(machine, 0, 2)
    machine.chunk_sent(0)
    machine.on_pull(pull((0, 2)), 1.0)
    assert reads(machine) == [(0, 1)]


def test_of_a_session_that_is_over_nothing_is_sent() -> None:
    machine = sending()
    machine.on_pull(pull((0, 2)), 0.0)
    machine.take(0.0)
    machine.session_down()
    machine.on_pull(pull((5, 2)), 0.0)
    give(machine, 0, 2)
    assert machine.take(0.0) == []
    machine.session_up()
    assert reads(machine) == []


def pauses(machine: Sending) -> list[bool]:
    controls = [c.message for c in machine.take(0.0) if isinstance(c, commands.SendControl)]
    return [message.paused for message in controls if isinstance(message, wire.Pause)]


def test_a_pause_is_told_at_once_in_each_session_and_to_each_request() -> None:
    machine = sending()
    machine.on_pull(pull((0, 2)), 0.0)
    assert reads(machine) == [(0, 2)]
    machine.pause("enough for today")
    assert pauses(machine) == [True]
    give(machine, 0, 2)
    assert machine.take(0.0) == []  # read before, and not to be sent now
    machine.on_pull(pull((0, 2)), 1.0)
    assert pauses(machine) == [True]
    machine.session_down()
    machine.session_up()
    assert pauses(machine) == [True]
    machine.resume()
    assert pauses(machine) == [False]
    assert machine.state is SendState.ACTIVE
    machine.on_pull(pull((0, 2)), 2.0)
    assert reads(machine) == [(0, 2)]


def test_what_was_paused_before_anybody_asked_is_offered_again() -> None:
    machine = sending()
    machine.pause("not yet")
    machine.take(0.0)
    machine.resume()
    assert machine.state is SendState.OFFERED
    machine.pause("not yet")
    machine.on_accept()
    assert machine.state is SendState.PAUSED
    machine.resume()
    assert machine.state is SendState.ACTIVE


def test_a_receiver_that_paused_goes_on_by_asking() -> None:
    machine = sending()
    machine.on_pause(wire.Pause(file_id=ID, paused=True, reason="the disk is full"))
    assert machine.peer_pause == "the disk is full"
    machine.on_pull(pull((0, 2)), 0.0)
    assert machine.peer_pause is None


@pytest.mark.parametrize(
    ("event", "state", "command"),
    [
        ("on_complete", SendState.DELIVERED, commands.Delivered),
        ("on_refuse", SendState.REFUSED, commands.Refused),
        ("on_cancel", SendState.CANCELLED, commands.Cancelled),
        ("source_failed", SendState.FAILED, commands.Failed),
        ("cancel", SendState.CANCELLED, commands.SendControl),
    ],
)
def test_after_the_end_nothing_more_comes(event: str, state: SendState, command: type) -> None:
    machine = sending()
    machine.on_pull(pull((0, 2)), 0.0)
    machine.take(0.0)
    getattr(machine, event)(*([] if event == "on_complete" else ["enough"]))
    assert machine.state is state
    assert machine.cause == (None if event == "on_complete" else "enough")
    assert command in [type(c) for c in machine.take(0.0)]
    give(machine, 0, 2)
    for again in ("on_accept", "on_complete", "resume", "session_up"):
        getattr(machine, again)()
    for again in ("on_refuse", "on_cancel", "source_failed", "cancel", "pause"):
        getattr(machine, again)("again")
    machine.on_pull(pull((0, 2)), 5.0)
    machine.leaves_read(0, b"l" * 32)
    assert machine.take(0.0) == []
    assert machine.state is state


TROUBLE = Trouble(cause="EIO in /home/alice", told="it cannot be read for now", next_try_s=50.0)


def reasons(machine: Sending, now_s: float = 0.0) -> list[str]:
    """Return why the receiver is told to wait, or "" for that it goes on."""
    controls = [c.message for c in machine.take(now_s) if isinstance(c, commands.SendControl)]
    return [message.reason for message in controls if isinstance(message, wire.Pause)]


def test_a_source_that_cannot_be_read_is_let_go_and_tried_again() -> None:
    machine = sending()
    machine.on_pull(pull((0, 2)), 0.0)
    machine.take(0.0)
    machine.source_waits(TROUBLE)
    machine.source_waits(Trouble(cause="another", told="another", next_try_s=0.0))
    pause, let_go = machine.take(0.0)
    assert isinstance(pause, commands.SendControl)
    assert pause.message == wire.Pause(file_id=ID, paused=True, reason=TROUBLE.told)
    assert let_go == commands.LetGo(cause=TROUBLE.cause)
    assert machine.take(TROUBLE.next_try_s) == []  # What reads it has not ended yet.
    machine.let_go()
    assert (machine.next_timer_s, machine.take(49.0)) == (50.0, [])
    assert machine.take(50.0) == [commands.TryAgain()]
    assert machine.trouble == TROUBLE
    machine.try_again()
    assert reasons(machine) == [""]
    assert (machine.state, machine.trouble) == (SendState.ACTIVE, None)


def test_who_hurries_does_not_wait_for_the_time_but_for_what_reads() -> None:
    machine = sending()
    machine.source_waits(TROUBLE)
    machine.take(0.0)
    machine.hurry()
    assert machine.take(0.0) == []
    machine.let_go()
    assert machine.take(0.0) == [commands.TryAgain()]


def test_the_end_that_was_looked_for_is_looked_for_again() -> None:
    machine = sending()
    machine.on_pull(pull(), 0.0)
    assert machine.take(0.0) == [commands.FindEnd()]
    machine.source_waits(TROUBLE)
    # Not before that: the source would be read again and again, and never let go.
    assert commands.FindEnd() not in machine.take(0.0)
    machine.let_go()
    assert machine.take(TROUBLE.next_try_s) == [commands.TryAgain()]
    machine.try_again()
    assert commands.FindEnd() in machine.take(TROUBLE.next_try_s)


def test_the_user_and_the_source_pause_it_each_for_itself() -> None:
    machine = sending()
    machine.source_waits(TROUBLE)
    machine.let_go()
    assert reasons(machine) == [TROUBLE.told]
    machine.pause("by the user")
    assert reasons(machine) == ["by the user"]
    assert machine.take(TROUBLE.next_try_s) == [commands.TryAgain()]
    machine.try_again()
    assert (machine.state, machine.trouble, reasons(machine)) == (SendState.PAUSED, None, [])
    machine.source_waits(TROUBLE)
    assert reasons(machine) == []
    machine.let_go()
    machine.resume()
    taken = machine.take(0.0)
    assert [c.message.reason for c in taken if isinstance(c, commands.SendControl)] == [  # type: ignore[attr-defined]
        TROUBLE.told
    ]
    assert commands.TryAgain() in machine.take(0.0) + taken
    machine.try_again()
    assert reasons(machine) == [""]
