"""`send --wait` to somebody who is away says soon why nothing happens, and says it once."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.nodes import Friend, content

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("file", [False, True])
async def test_who_waits_is_told_why(pair: tuple[Friend, Friend], *, file: bool) -> None:
    alice, bob = pair
    await bob.stop()
    (alice.home.parent / "file").write_bytes(content(1000))
    what = ["--file", f"{alice.home.parent}/file"] if file else ["hello"]
    began_s = time.monotonic()
    waits = await alice.cli("send", "-c", "bob", "--wait", "--timeout", "6s", *what, code=75)
    assert time.monotonic() - began_s >= 6
    notes = [json.loads(line).get("note", "") for line in waits.err.splitlines()]
    (said,) = [note for note in notes if "bob cannot be reached yet: " in note]
    assert said.endswith("; waiting.")


async def test_what_arrives_at_once_is_not_commented(pair: tuple[Friend, Friend]) -> None:
    alice, _ = pair
    assert (await alice.cli("send", "-c", "bob", "--wait", "hello")).err == ""
