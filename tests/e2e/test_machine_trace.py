"""PEERPOST_TRACE=machine: two real nodes write each step of their machines, and without it none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from peerpost.node.logs import LINES_PER_MIN
from peerpost.node.machine_trace import LOGGER
from peerpost.protocol import hello, receiving, sending
from tests.support.nodes import Friend, content, meet

pytestmark = pytest.mark.asyncio

SIZE = 30_000_000
"""Long enough for more lines than the log takes of any other cause in a minute."""
NEXT = {
    "sending": {a.value: {b.value for b in after} for a, after in sending.NEXT.items()},
    "receiving": {a.value: {b.value for b in after} for a, after in receiving.NEXT.items()},
    "hello-dialer": {a.value: {b.value for b in after} for a, after in hello.NEXT.items()},
    "hello-responder": {a.value: {b.value for b in after} for a, after in hello.NEXT.items()},
}


def lines(person: Friend) -> list[dict[str, str]]:
    """Return the steps in a log, as the fields of each."""
    found = []
    for line in person.log_text().splitlines():
        entry = json.loads(line)
        if entry["target"] == LOGGER.replace(".", "::"):
            found.append(dict(field.split("=", 1) for field in entry["msg"].split()))
    return found


async def send_a_file(alice: Friend, bob: Friend) -> None:
    """Make both acquainted, have Alice send a file, and end both nodes."""
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    await alice.delivered(await alice.queue_file("bob", "a.bin", content(SIZE)))
    await asyncio.gather(alice.close(), bob.close())


async def test_each_step_is_a_line(
    friend: Callable[..., Friend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEERPOST_TRACE", "machine")
    monkeypatch.setenv("PEERPOST__LOG__LEVEL", "warning")  # The trace does not depend on it.
    alice, bob = friend("alice"), friend("bob")
    await send_a_file(alice, bob)

    sent, received = lines(alice), lines(bob)
    assert sum(step["machine"] == "receiving" for step in received) > LINES_PER_MIN
    for step in (*sent, *received):
        allowed = NEXT[step["machine"]][step["state"]] | {step["state"]}
        assert step["next"] in allowed, step

    def went(steps: list[dict[str, str]], machine: str) -> list[tuple[str, str, str]]:
        changed = [step for step in steps if step["machine"] == machine]
        assert len({step["id"] for step in changed}) == 1
        return [
            (step["state"], step["event"], step["next"])
            for step in changed
            if step["state"] != step["next"]
        ]

    assert went(sent, "sending") == [
        ("offered", "on_accept", "active"),
        ("active", "on_complete", "delivered"),
    ]
    assert went(received, "receiving") == [
        ("preparing", "prepared", "active"),
        ("active", "verified", "finishing"),
        ("finishing", "finalized", "done"),
    ]
    assert went(sent, "hello-dialer") == [
        ("start", "start", "await_first"),
        ("await_first", "receive", "await_second"),
        ("await_second", "receive", "done"),
    ]
    assert went(received, "hello-responder") == [
        ("start", "start", "await_first"),
        ("await_first", "receive", "await_second"),
        ("await_second", "receive", "asking"),
        ("asking", "answer", "done"),
    ]


@pytest.mark.parametrize("value", [None, "", "machines"])
async def test_without_it_there_is_no_line(
    friend: Callable[..., Friend], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("PEERPOST_TRACE", raising=False)
    else:
        monkeypatch.setenv("PEERPOST_TRACE", value)
    alice, bob = friend("alice"), friend("bob")
    await send_a_file(alice, bob)
    assert lines(alice) == lines(bob) == []
    assert ("there is no such trace; known: machine" in alice.log_text()) is (value == "machines")
