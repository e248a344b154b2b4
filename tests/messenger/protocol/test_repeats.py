"""What comes twice to a receiver because it asked twice."""

from __future__ import annotations

from peerpost.protocol.intake import UNASKED_WINDOWS
from peerpost.protocol.receiving import State
from tests.messenger.protocol.test_receiving import CHUNK, Content, receive


def test_what_was_asked_for_again_may_come_as_often() -> None:
    """A link or a limit that is slow for long has each request answered at last: that is no flood."""
    rig = receive(Content(9 * CHUNK))
    assert rig.asked() == [(0, 8)]
    times = 2 * UNASKED_WINDOWS
    asked = 0
    while asked < times:
        due_s = rig.machine.next_timer_s
        assert due_s is not None
        rig.now_s = max(rig.now_s, due_s)
        rig.machine.on_timer(rig.now_s)
        asked += rig.asked() == [(0, 8)]
    for _ in range(1 + times):
        for index in range(8):
            rig.give(index)
    assert [chunk.index for chunk in rig.checked()] == list(range(8))
    assert rig.machine.state is State.ACTIVE
    # And what nobody asked for, ever, is one all the same.
    for _ in range(UNASKED_WINDOWS + 1):
        for index in range(8):
            rig.give(index)
    assert "floods" in rig.cause()
