"""Retention: a node deletes by itself what is beyond what its configuration keeps, and nothing that was not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Friend, content, meet, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

SIZE = 400_000


async def restart_with(bob: Friend, text: str) -> None:
    await bob.stop()
    config = bob.home / "config.toml"
    original = config.with_suffix(".first")
    if not original.exists():
        original.write_text(config.read_text())
    config.write_text(original.read_text().replace("[storage]", f"[storage]\n{text}"))
    await bob.start()


async def names(bob: Friend) -> list[str]:
    """Return what is in the inbox, oldest first."""
    return [row["name"] or row["preview"] for row in await bob.ask("inbox.list")][::-1]


def in_blobs(bob: Friend) -> int:
    return sum(path.stat().st_size for path in (bob.home / "blobs").iterdir())


async def until_blobs_take(bob: Friend, most_bytes: int) -> None:
    """Wait until the blobs are gone too: they go after their rows."""

    async def so() -> bool:
        return in_blobs(bob) <= most_bytes

    await until(so)


async def until_left(bob: Friend, wanted: list[str]) -> None:
    async def so() -> bool:
        return await names(bob) == wanted

    await until(so)


async def test_it_keeps_what_it_is_told_to(
    pair: tuple[Friend, Friend], friend: Any, folder: Path
) -> None:
    alice, bob = pair
    nas = friend("nas")
    await nas.start()
    await nas.create()
    await meet(bob, nas)
    for number in range(5):
        await alice.delivered(await alice.queue_file("bob", f"a{number}", content(SIZE, number)))
        row = (await nas.cli("send-net", "-c", "bob", f"n{number}")).row
        await nas.delivered(row["id"])
    every = [f"{who}{number}" for number in range(5) for who in "an"]
    await until_left(bob, every)
    before = in_blobs(bob)

    # None was read: nothing goes.
    await restart_with(bob, "keep_count = 1\nkeep_of = ['nas count=2']")
    rows = await bob.ask("inbox.list")
    assert len(rows) == 10
    # Read by now, but for the oldest of each.
    read = [row["id"] for row in rows if (row["name"] or row["preview"]) not in ("a0", "n0")]
    await bob.cli("inbox", "mark", *read)
    await until_left(bob, ["a0", "n0", "n4"])
    await until_blobs_take(bob, before - 4 * SIZE)
    gone = next(row for row in rows if row["name"] == "a3")
    await bob.cli("inbox", "save", gone["id"], "--out", str(folder / "x"), code=67)

    # A name that is nobody's would leave those it was meant for to the rule of all others.
    await bob.cli("inbox", "mark", *(row["id"] for row in await bob.ask("inbox.list")))
    await restart_with(bob, "keep_for = '1ms'\nkeep_of = ['nass for=off']")

    async def failing() -> bool:
        status = await bob.ask("node.status")
        return any("'nass'" in one["error"] for one in status["failing"])

    await until(failing)
    # What could go under the rule before: one message of nas, by number, at most.
    assert {"a0", "n4"} <= set(await names(bob))

    await restart_with(bob, "keep_for = '1ms'\nkeep_of = ['nas for=off']")
    await until_left(bob, [name for name in await names(bob) if name.startswith("n")])
    assert "n4" in await names(bob)
    assert in_blobs(bob) == 0
