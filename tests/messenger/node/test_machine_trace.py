"""The transition trace: what it writes of a machine, and that it leaves one alone when it is off."""

from __future__ import annotations

import logging

import pytest

from peerpost.node.logs import LINES_PER_MIN, Bounded
from peerpost.node.machine_trace import LOGGER, traced
from peerpost.protocol.sending import Sending
from peerpost.wire import inner as wire
from peerpost.wire import limits

FILE = bytes(16)


def sending() -> Sending:
    return Sending(file_id=FILE, chunk_log2=limits.MIN_CHUNK_LOG2, size=100_000)


def test_off_it_leaves_the_machine_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    machine = sending()
    before = dict(vars(machine))
    assert traced("sending", "A1", machine, on=False) is machine
    assert vars(machine) == before
    with caplog.at_level(logging.DEBUG):
        machine.on_accept()
    assert caplog.messages == []


def test_a_step_is_one_line_whatever_it_calls_within(caplog: pytest.LogCaptureFixture) -> None:
    machine = traced("sending", "A1", sending(), on=True)
    with caplog.at_level(logging.INFO, LOGGER):
        machine.session_up()
        machine.on_pull(
            wire.Pull(file_id=FILE, leaves_first=0, leaves_count=0, ranges=((0, 1),)), 1.0
        )
        machine.take(1.0)
        machine.chunk_sent(0)
        with pytest.raises(AttributeError):
            machine.on_pause(None)  # type: ignore[arg-type]
        machine.cancel("enough")
    assert caplog.messages == [
        "machine=sending id=A1 state=offered event=session_up next=offered",
        "machine=sending id=A1 state=offered event=on_pull next=active",
        "machine=sending id=A1 state=active event=on_pause next=active error=AttributeError",
        "machine=sending id=A1 state=active event=cancel next=cancelled",
    ]


def test_its_lines_are_not_bounded_in_number() -> None:
    bounded = Bounded()
    record = logging.LogRecord(LOGGER, logging.INFO, "", 0, "machine=%s", ("sending",), None)
    assert all(bounded.filter(record) for _ in range(2 * LINES_PER_MIN))
