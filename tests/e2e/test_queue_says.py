"""What the queue says where there is nothing to do: in words, to programs, and by the exit code."""

from __future__ import annotations

import json

import pytest

from tests.support.nodes import Friend

pytestmark = pytest.mark.asyncio


async def test_an_empty_queue_and_what_is_not_queued_any_more(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    empty = await alice.cli("queue", "list")
    assert empty.out == b""
    assert empty.err == ""
    for arguments in (("inbox", "list"), ("contacts", "invite", "carol"), ("contacts", "invites")):
        for line in (await alice.cli(*arguments)).err.splitlines():
            assert set(json.loads(line)) == {"note"}
    debug = await alice.cli("--debug", "queue", "show", "zzz", code=67)
    assert [set(json.loads(line)) for line in debug.err.splitlines()] == [{"trace"}, {"error"}]

    sent = (await alice.cli("send-net", "--contact", "bob", "--wait", "hello")).rows[-1]
    assert sent["state"] == "delivered"
    for command in ("cancel", "retry"):
        late = await alice.cli("queue", command, sent["id"], code=67)
        assert late.error["code"] == "not_found"
        assert "delivered" in late.error["message"]
    await bob.stop()
    waits = (await alice.cli("send-net", "--contact", "bob", "wait")).row
    for _ in range(2):
        assert (await alice.cli("queue", "cancel", waits["id"])).row["state"] == "cancelled"
