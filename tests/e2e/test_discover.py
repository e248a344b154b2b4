"""`rpc.discover` by `peerpost rpc`, of a home that is open, locked, or has no identity: all three tell the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Done, Friend
from tests.support.protected import Protected

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


async def asked(who: Friend, *methods: str, wrap: Any = ()) -> dict[int, dict[str, Any]]:
    """Ask for methods one after the other; return the answers by their place."""
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": place, "method": method})
        for place, method in enumerate(methods)
    ]
    done: Done = await who.cli("rpc", stdin="\n".join(lines).encode(), wrap=wrap)
    return {answer["id"]: answer for answer in done.rows}


async def test_a_home_without_an_identity_tells_it_and_says_what_is_missing(folder: Path) -> None:
    nobody = Friend("nobody", folder, idle_exit="5s")
    answers = await asked(nobody, "rpc.discover", "contacts.list", "rpc.discover")
    assert answers[0]["result"]["openrpc"].startswith("1.")
    assert answers[2]["result"] == answers[0]["result"]
    assert answers[1]["error"]["data"]["code"] == "no_identity"
    assert not list(nobody.home.glob("keyfile*"))


async def test_a_locked_home_tells_the_same_as_an_open_one(folder: Path) -> None:
    alice = Protected("alice", folder)
    try:
        await alice.start()
        await alice.create()
        opened = (await asked(alice, "rpc.discover"))[0]["result"]
        assert {one["name"] for one in opened["methods"]} > {"rpc.discover", "send-net"}
        await alice.lock()
        answers = await asked(alice, "contacts.list", "rpc.discover")
        assert answers[0]["error"]["data"]["code"] == "locked"
        assert answers[1]["result"] == opened
        # A wrong passphrase is the error of what needs it, and of nothing else that was asked for.
        wrong = ("env", "PEERPOST_PASSPHRASE=another one altogether")
        answers = await asked(alice, "rpc.discover", "contacts.list", "node.status", wrap=wrong)
        assert answers[0]["result"] == opened
        assert answers[1]["error"]["data"]["code"] == "wrong_passphrase"
        assert answers[2]["result"]["state"] == "locked"
    finally:
        await alice.close()
