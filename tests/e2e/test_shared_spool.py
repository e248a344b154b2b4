"""The same file to three contacts lies on the disk once, and reaches each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Friend, content, digest, meet, until

pytestmark = pytest.mark.asyncio

SIZE = 3_000_000


def spooled_bytes(friend: Friend) -> int:
    """Return what the spool takes up on the disk."""
    return sum(path.stat().st_blocks * 512 for path in (friend.home / "spool").iterdir())


def spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))


async def test_one_content_for_three(friend: Callable[..., Friend]) -> None:
    alice, others = friend("alice"), [friend(name) for name in ("bob", "carol", "dave")]
    people = [alice, *others]
    await asyncio.gather(*(one.start() for one in people))
    await asyncio.gather(*(one.create() for one in people))
    for one in others:
        await meet(one, alice)
    await asyncio.gather(*(one.stop() for one in others))

    data = content(SIZE)
    source = alice.home.parent / "data"
    source.write_bytes(data)
    sent = {}
    for one in others:
        # As a user would: a file by its name, and what comes out of a pipe.
        how = ("--name", "data", "-") if one.name == "dave" else ("--file", str(source))
        stdin = data if one.name == "dave" else None
        done = await alice.cli("send-net", "--contact", one.name, *how, stdin=stdin)
        sent[one.name] = done.row["id"]
        assert SIZE <= spooled_bytes(alice) < 1.2 * SIZE
    source.unlink()

    # Whose transfer the copy was spooled for gives up; the others do not notice, nor a kill.
    await alice.cli("queue", "cancel", sent["bob"])
    await alice.kill()
    (alice.home / "spool" / f"{'ab' * 16}.sealed").write_bytes(data)
    await alice.start()
    assert SIZE <= spooled_bytes(alice) < 1.2 * SIZE
    await asyncio.gather(*(one.start() for one in others[1:]))
    for one in others[1:]:
        await alice.delivered(sent[one.name])
        (item,) = await one.ask("inbox.list", {})
        shown = await one.ask("inbox.show", {"id": item["id"]})
        assert (shown["name"], shown["blake2b"]) == ("data", digest(data))

    async def swept() -> bool:
        return not spooled_bytes(alice)

    await until(swept)


async def test_a_copy_that_is_damaged_is_not_sent(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.stop()
    data = content(SIZE, seed=2)
    sent = [await alice.queue_file("bob", name, data) for name in ("one", "two")]
    (path,) = (alice.home / "spool").glob("*.sealed")
    spoil(path)
    await bob.start()

    async def refused() -> bool:
        states = {(await alice.ask("sent.show", {"id": id_}))["state"] for id_ in sent}
        assert "delivered" not in states
        return states == {"refused"}

    await until(refused)
    for id_ in sent:
        error = (await alice.ask("sent.show", {"id": id_}))["last_error"]
        assert "copy of it: chunk 0 of the stored file is damaged; send it again" in error
    assert await bob.ask("inbox.list", {}) == []
