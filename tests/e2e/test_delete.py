"""What the user deletes is gone from the inbox and the disk, and does not come back with a sender who was put back."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.nodes import WAIT_S, Friend, content, meet, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

SIZE = 5_000_000
LONG = "a long text, which travels like a file. " * 4000


async def rows(bob: Friend) -> dict[str, dict[str, Any]]:
    """Return what is in the inbox by its name, or what it begins with."""
    return {
        row["name"] or row["preview"] or "a long text": row for row in await bob.ask("inbox.list")
    }


def in_blobs(bob: Friend) -> int:
    return sum(path.stat().st_size for path in (bob.home / "blobs").iterdir())


async def nothing_queued(alice: Friend) -> bool:
    return not await alice.ask("queue.list")


@pytest_asyncio.fixture
async def sent(pair: tuple[Friend, Friend], folder: Path) -> tuple[Friend, Friend]:
    """Have a text, a long text, a file and a folder with Bob, and a copy of Alice's home that has them queued."""
    alice, bob = pair
    await bob.stop()
    (folder / "photos").mkdir()
    (folder / "photos" / "one").write_bytes(content(SIZE, 2))
    await alice.cli("send-net", "--contact", "bob", "hello")
    await alice.ask("send-net", {"contact": "bob", "text": LONG})
    await alice.queue_file("bob", "big.bin", content(SIZE))
    await alice.cli("send-net", "--contact", "bob", "--file", str(folder / "photos"))
    await alice.stop()
    shutil.copytree(alice.home, folder / "copy", ignore=shutil.ignore_patterns("*.sock"))
    await asyncio.gather(alice.start(), bob.start())

    async def arrived() -> bool:
        return len(await rows(bob)) == 4

    await until(arrived)
    await until(lambda: nothing_queued(alice))
    return alice, bob


async def put_back(alice: Friend, folder: Path) -> None:
    await alice.stop()
    shutil.rmtree(alice.home)
    shutil.copytree(folder / "copy", alice.home)
    await alice.start()


async def test_it_is_gone_with_its_room_and_is_not_shown_again(
    sent: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = sent
    found = await rows(bob)
    assert found.keys() == {"hello", "a long text", "big.bin", "photos"}
    assert in_blobs(bob) > 2 * SIZE
    used = (await bob.ask("contacts.show", {"name": "alice"}))["used"]
    for name, kind, freed in (
        ("hello", "text", 0),
        ("big.bin", "file", SIZE),
        ("photos", "file", SIZE),
    ):
        before = in_blobs(bob)
        row = (await bob.cli("inbox", "delete", found[name]["id"])).row
        assert row == {
            "id": found[name]["id"],
            "contact": "alice",
            "kind": kind,
            "size": found[name]["size"],
        }
        assert before - in_blobs(bob) >= freed
    assert (await bob.ask("contacts.show", {"name": "alice"}))["used"] < used - 2 * SIZE
    (row,) = (
        await bob.cli("inbox", "delete", found["a long text"]["id"], "--contact", "alice")
    ).rows
    assert (row["kind"], row["size"]) == ("text", len(LONG))
    assert in_blobs(bob) == 0

    await put_back(alice, folder)
    await alice.cli("send-net", "--contact", "bob", "and on")
    await until(lambda: nothing_queued(alice))
    assert {row["state"] for row in await alice.ask("sent.list")} == {"delivered"}
    assert await bob.texts() == ["and on"]
    assert in_blobs(bob) == 0


async def test_what_cannot_be_deleted_is_said_and_then_nothing_is(
    sent: tuple[Friend, Friend], friend: Any
) -> None:
    _, bob = sent
    carol = friend("carol")
    await carol.start()
    await carol.create()
    await meet(bob, carol)
    found = await rows(bob)
    ids = [row["id"] for row in found.values()]
    for arguments, code in (
        ((*ids, "zzzzzzzz"), 67),
        ((*ids, "--contact", "carol"), 67),
        ((*ids, "--contact", "nobody"), 67),
        (("--older-than", "1s", ids[0]), 2),
        ((), 2),
        (("--older-than", "soon"), 2),
    ):
        done = await bob.cli("inbox", "delete", *arguments, code=code)
        assert done.out == b"", arguments
    assert await rows(bob) == found

    # By age: an empty choice is no error, and more than one message wants a word.
    assert (await bob.cli("inbox", "delete", "--older-than", "1d")).out == b""
    assert (await bob.cli("inbox", "delete", "--older-than", "1s", "--contact", "carol")).out == b""

    async def old_enough() -> bool:
        before = int((time.time() - 1) * 1000)
        return bool((await bob.ask("inbox.older", {"before": before}))["count"] == 4)

    await until(old_enough)
    refused = await bob.cli("inbox", "delete", "--older-than", "1s", code=2)
    assert (refused.out, refused.error["code"]) == (b"", "usage")
    assert "4 messages" in refused.error["message"]
    assert "--yes" in refused.error["hint"]
    assert await rows(bob) == found
    gone = await bob.cli("inbox", "delete", "--older-than", "1s", "-c", "alice", "--yes")
    assert sorted(row["id"] for row in gone.rows) == sorted(ids)
    assert in_blobs(bob) == 0


async def test_who_reads_a_file_that_is_deleted_gets_all_of_it(
    sent: tuple[Friend, Friend],
) -> None:
    _, bob = sent
    id_ = (await rows(bob))["big.bin"]["id"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(bob.home)),
        *("inbox", "save", id_, "--out", "-"),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 16,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            first = await process.stdout.readexactly(1000)
            before = in_blobs(bob)
            await bob.cli("inbox", "delete", id_)
            assert before - in_blobs(bob) >= SIZE
            rest = await process.stdout.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert first + rest == content(SIZE)
    assert (await bob.cli("inbox", "save", id_, "--out", "-", code=67)).out == b""
