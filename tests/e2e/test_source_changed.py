"""A file that changed after it was queued: each command has the word for it that docs/cli.md has, and blames nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("gone", [False, True])
async def test_a_source_that_changed_while_it_waited(
    friend: Callable[..., Friend], *, gone: bool
) -> None:
    alice, bob = friend("alice"), friend("bob")
    config = alice.home / "config.toml"
    config.write_text(
        config.read_text().replace("min_free = 0", "min_free = 0\nspool_below = 1000")
    )
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    await bob.cli("contacts", "edit", "alice", "--accept", "ask")
    source = alice.home.parent / "dump.sql"
    source.write_bytes(content(300_000))
    sending = asyncio.create_task(
        alice.cli("send", "-c", "bob", "--file", str(source), "--wait", "--timeout", "60", code=66)
    )

    async def asks() -> bool:
        return [row["state"] for row in await bob.ask("transfers.list")] == ["asking"]

    await until(asks)
    if gone:
        source.unlink()
    else:
        source.write_bytes(content(300_000, seed=2))
    (row,) = await bob.ask("transfers.list")
    await bob.cli("transfers", "accept", row["id"])
    done = await sending
    assert done.error["code"] == "source_changed"
    assert "failed: " in done.error["message"]
    assert "refused" not in done.error["message"]
    assert "--spool" in done.error["hint"]
    shown = (await alice.cli("sent", "list")).row
    assert shown["state"] == "refused"
    assert shown["last_error"].startswith("it failed, and the contact did not refuse it")
    assert (await alice.cli("transfers", "list")).row["state"] == "failed"
