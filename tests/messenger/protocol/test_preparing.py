"""What a receiver does before it knows what is on its disk: at first, and after an error of its own."""

from __future__ import annotations

import dataclasses

import pytest

from peerpost.protocol import transfer as commands
from peerpost.protocol.receiving import State
from peerpost.protocol.waiting import Trouble
from peerpost.wire import inner as wire
from tests.messenger.protocol.test_receiving import CHUNK, FULL, Content, Rig, begin, receive

BROKEN = Trouble(cause="EIO in /home/alice", told="the disk does not take it", next_try_s=50.0)
OTHER = dataclasses.replace(BROKEN, cause="another", next_try_s=60.0)


def told(taken: list[commands.ReceiveCommand]) -> list[wire.Inner]:
    return [c.message for c in taken if isinstance(c, commands.SendControl)]


def reasons(rig: Rig) -> list[str]:
    """Return why the sender is told to wait, each time."""
    return [m.reason for m in told(rig.take()) if isinstance(m, wire.Pause) and m.paused]


def kinds(rig: Rig) -> list[type]:
    return [type(command) for command in rig.take()]


def prepare(rig: Rig, have: bytes = b"", finish: wire.Finish | None = None) -> None:
    assert commands.Prepare() in rig.take()
    rig.machine.prepared(have, finish, rig.now_s)


def half() -> Rig:
    """Return a receiver of eight chunks that has two of them, in a session."""
    rig = receive(Content(8 * CHUNK))
    rig.take()
    for index in (0, 1):
        rig.give(index)
        rig.take()
    rig.machine.verified([0, 1], [], rig.now_s)
    rig.machine.verified([], [], rig.now_s)
    rig.take()
    return rig


@pytest.mark.parametrize("first", ["session", "disk"])
def test_it_asks_once_there_are_a_session_and_a_disk(first: str) -> None:
    rig = begin(Content(8 * CHUNK))
    assert rig.take() == [commands.Prepare()]
    steps = [
        lambda: rig.machine.session_up(rig.now_s),
        lambda: rig.machine.prepared(b"\1", None, rig.now_s),
    ]
    for step in steps if first == "session" else steps[::-1]:
        assert rig.take() == []
        step()
    assert rig.asked() == [(1, 7)]
    assert rig.machine.progress_bytes == CHUNK


def test_until_then_it_knows_nothing_and_takes_nothing() -> None:
    rig = begin(Content(8 * CHUNK))
    rig.take()
    rig.machine.session_up(rig.now_s)
    rig.give(0)
    rig.machine.on_finish(rig.content.finish(size=1))
    assert rig.take() == []
    assert not rig.machine.wants_care
    assert rig.machine.next_timer_s is None
    assert (rig.machine.have, rig.machine.progress_bytes, rig.machine.finish) == (b"", None, None)
    rig.machine.prepared(b"", None, rig.now_s)
    assert rig.asked() == [(0, 8)]


def test_what_is_whole_on_the_disk_is_finished_without_a_session() -> None:
    content = Content(CHUNK)
    rig = begin(content)
    prepare(rig, b"\1", content.finish())
    assert rig.take() == [commands.Finalize(finish=content.finish())]
    rig.machine.session_up(rig.now_s)
    assert rig.take() == []


def test_a_pause_of_the_user_is_told_when_it_could_begin() -> None:
    rig = begin(Content(8 * CHUNK))
    rig.machine.session_up(rig.now_s)
    rig.machine.pause("paused by the receiver")
    assert rig.machine.paused
    prepare(rig)
    assert reasons(rig) == ["paused by the receiver"]
    rig.machine.resume(rig.now_s)
    assert rig.asked() == [(0, 8)]


def test_a_pause_that_was_over_before_it_could_begin_is_not_told() -> None:
    rig = begin(Content(8 * CHUNK))
    rig.machine.session_up(rig.now_s)
    rig.machine.pause("paused by the receiver")
    rig.machine.resume(rig.now_s)
    prepare(rig)
    assert rig.asked() == [(0, 8)]


def test_a_sender_that_pauses_meanwhile_is_asked_for_nothing() -> None:
    rig = begin(Content(8 * CHUNK))
    rig.machine.session_up(rig.now_s)
    pause = wire.Pause(file_id=rig.content.file_id, paused=True, reason="for the night")
    rig.machine.on_pause(pause, rig.now_s)
    prepare(rig)
    assert rig.pulls() == []
    assert rig.machine.peer_pause == "for the night"


def test_a_sender_that_gives_it_up_meanwhile_ends_it() -> None:
    rig = begin(Content(8 * CHUNK))
    rig.take()
    rig.machine.on_cancel("enough")
    assert rig.take() == [commands.Cancelled(cause="enough")]
    rig.machine.prepared(b"", None, rig.now_s)
    assert (rig.machine.state, rig.take()) == (State.CANCELLED, [])


@pytest.mark.parametrize("when", ["before it was ever open", "open", "let go"])
def test_whoever_gives_it_up_does_not_wait_for_the_disk(when: str) -> None:
    rig = begin(Content(8 * CHUNK)) if when == "before it was ever open" else half()
    if when == "let go":
        rig.machine.broken(BROKEN)
    rig.take()
    rig.machine.cancel("not that one")
    message, given_up = rig.take()
    assert isinstance(message, commands.SendControl)
    kind = wire.Refuse if when == "before it was ever open" else wire.Cancel
    assert message.message == kind(file_id=rig.content.file_id, reason="not that one")
    assert given_up == commands.Rejected(cause="not that one")
    assert rig.machine.ended
    assert rig.machine.next_timer_s is None


def test_after_an_error_it_lets_go_says_why_and_begins_with_what_is_on_the_disk() -> None:
    rig = half()
    rig.give(2)
    rig.machine.broken(BROKEN)
    assert (rig.machine.state, rig.machine.cause) == (State.PREPARING, BROKEN.told)
    pause, let_go = rig.take()
    assert isinstance(pause, commands.SendControl)
    assert pause.message == wire.Pause(file_id=rig.content.file_id, paused=True, reason=BROKEN.told)
    assert let_go == commands.LetGo(cause=BROKEN.cause)
    rig.now_s = BROKEN.next_try_s + 1
    assert rig.take() == []  # What uses the file has not ended yet.
    rig.machine.let_go()
    rig.now_s = BROKEN.next_try_s - 1
    assert (rig.machine.next_timer_s, rig.take()) == (BROKEN.next_try_s, [])
    rig.now_s = BROKEN.next_try_s
    assert rig.take() == [commands.TryAgain()]
    assert rig.take() == []
    rig.machine.try_again(rig.now_s)
    # Of the two chunks, one was lost.
    prepare(rig, b"\2")
    assert rig.asked() == [(0, 1), (2, 6)]
    assert rig.machine.cause is None


def test_the_outcome_of_what_was_under_way_belongs_to_the_past() -> None:
    rig = half()
    rig.give(2)
    assert [chunk.index for chunk in rig.checked()] == [2]
    rig.machine.broken(BROKEN)
    rig.take()
    rig.machine.verified([2], [], rig.now_s)
    rig.machine.store_failed([2], OTHER)
    rig.machine.held_up(OTHER)
    rig.machine.finalize_postponed(OTHER)
    rig.machine.finalize_failed("the leaves do not add up")
    rig.machine.finalized()
    assert (rig.machine.state, rig.take()) == (State.PREPARING, [])
    assert rig.machine.cause == BROKEN.told
    rig.machine.let_go()
    rig.machine.try_again(rig.now_s)
    prepare(rig, b"\3")
    assert rig.asked() == [(2, 6)]
    # Both checks that may run at once can run.
    for index in (2, 3):
        rig.give(index)
        assert [chunk.index for chunk in rig.checked()] == [index]


def test_of_several_errors_the_first_counts_until_it_is_tried_again() -> None:
    rig = half()
    rig.machine.broken(BROKEN)
    rig.machine.broken(OTHER)
    assert kinds(rig) == [commands.SendControl, commands.LetGo]
    rig.machine.let_go()
    rig.machine.broken(OTHER)
    assert rig.machine.next_timer_s == BROKEN.next_try_s
    rig.now_s = BROKEN.next_try_s
    assert kinds(rig) == [commands.TryAgain]
    rig.machine.try_again(rig.now_s)
    assert kinds(rig) == [commands.Prepare]
    rig.machine.broken(OTHER)  # It cannot even be opened.
    assert kinds(rig) == [commands.SendControl, commands.LetGo]
    rig.machine.let_go()
    assert rig.machine.next_timer_s == OTHER.next_try_s


def test_it_waits_on_if_trying_would_be_in_vain() -> None:
    rig = half()
    rig.machine.broken(BROKEN)
    rig.machine.let_go()
    rig.take()
    rig.now_s = BROKEN.next_try_s
    assert kinds(rig) == [commands.TryAgain]
    rig.machine.wait_on(70.0)
    assert (rig.machine.next_timer_s, rig.machine.cause) == (70.0, BROKEN.told)
    rig.now_s = 70.0
    assert kinds(rig) == [commands.TryAgain]


def test_each_session_is_told_why_it_waits() -> None:
    rig = half()
    rig.machine.broken(BROKEN)
    assert reasons(rig) == [BROKEN.told]
    for _ in range(2):
        rig.machine.session_down()
        rig.machine.session_up(rig.now_s)
        assert reasons(rig) == [BROKEN.told]
    rig.machine.let_go()
    rig.machine.try_again(rig.now_s)
    rig.machine.session_up(rig.now_s)
    assert reasons(rig) == [BROKEN.told]


def test_what_ended_elsewhere_is_neither_told_nor_recorded() -> None:
    rig = half()
    rig.machine.broken(BROKEN)
    rig.machine.gone()
    assert rig.machine.ended
    assert rig.take() == []


def test_the_user_and_the_disk_pause_it_each_for_itself() -> None:
    rig = half()
    rig.machine.store_failed([], FULL)
    assert reasons(rig) == [FULL.told]
    rig.machine.pause("by the user")
    assert reasons(rig) == ["by the user"]
    rig.now_s = FULL.next_try_s
    assert commands.TryAgain in kinds(rig)
    rig.machine.try_again(rig.now_s)
    assert (rig.machine.state, rig.machine.cause) == (State.PAUSED, "by the user")
    assert rig.take() == []
    rig.machine.resume(rig.now_s)
    assert rig.machine.state is State.ACTIVE


def test_a_disk_that_fails_while_the_user_pauses_is_not_told() -> None:
    rig = half()
    rig.machine.pause("by the user")
    rig.take()
    rig.machine.store_failed([], FULL)
    assert reasons(rig) == []
    assert rig.machine.cause == "by the user"
    rig.now_s = FULL.next_try_s
    rig.take()
    rig.machine.try_again(rig.now_s)
    assert rig.machine.state is State.PAUSED


def test_the_disk_is_tried_at_once_if_the_user_resumes() -> None:
    rig = half()
    rig.machine.store_failed([], FULL)
    rig.take()
    rig.machine.resume(rig.now_s)
    assert rig.asked() == [(2, 6)]
    rig.now_s = FULL.next_try_s
    assert commands.TryAgain not in kinds(rig)


def test_a_stream_that_was_too_long_begins_anew_after_an_error() -> None:
    """What asks the user could not be recorded: so it is found out once more."""
    rig = receive(Content(8 * CHUNK), stream=True, limit_bytes=2 * CHUNK)
    rig.take()
    rig.machine.on_leaves(rig.content.page(1, 2))
    assert commands.Exceeded in kinds(rig)
    assert rig.machine.exceeded
    rig.machine.broken(BROKEN)
    assert not rig.machine.exceeded
    rig.machine.let_go()
    rig.machine.try_again(rig.now_s)
    prepare(rig)
    rig.machine.on_leaves(rig.content.page(1, 2))
    assert commands.Exceeded in kinds(rig)


def test_a_stream_that_was_too_long_does_not_wait_for_the_disk() -> None:
    rig = receive(Content(8 * CHUNK), stream=True, limit_bytes=2 * CHUNK)
    rig.take()
    rig.machine.on_leaves(rig.content.page(0, 2))
    rig.give(0)
    assert [chunk.index for chunk in rig.checked()] == [0]
    rig.machine.on_leaves(rig.content.page(1, 2))
    rig.take()
    rig.machine.store_failed([0], FULL)
    assert (rig.take(), rig.machine.next_timer_s, rig.machine.checking) == ([], None, False)
    assert rig.machine.cause != FULL.told


@pytest.mark.parametrize("end", ["cancel", "on_cancel", "fail", "gone"])
def test_an_error_after_the_end_changes_nothing(end: str) -> None:
    rig = half()
    {
        "cancel": lambda: rig.machine.cancel("enough"),
        "on_cancel": lambda: rig.machine.on_cancel("enough"),
        "fail": lambda: rig.machine.finalize_failed("the leaves do not add up"),
        "gone": rig.machine.gone,
    }[end]()
    rig.take()
    state = rig.machine.state
    rig.machine.broken(BROKEN)
    rig.machine.held_up(BROKEN)
    rig.machine.let_go()
    rig.machine.wait_on(rig.now_s)
    rig.machine.try_again(rig.now_s)
    rig.machine.prepared(b"\3", None, rig.now_s)
    assert rig.take() == []
    assert rig.machine.state is state
    assert rig.machine.next_timer_s is None
