"""A full disk, on either side: what was promised is kept, the rest is refused with 74, and room is all it takes.

Bob's home lies on a file system of a few megabytes that only he and his commands see: it is mounted in
a namespace that a process of the test holds open, and goes when that ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.support.nodes import Done, Friend, content, digest, until

pytestmark = pytest.mark.asyncio

DISK = "6m"
LONG = "x" * 40_000
MOUNT = """
set -e
cp "$1/config.toml" "$1/../config.small"
mount -t tmpfs -o size=$2,mode=700 peerpost-test "$1"
cp "$1/../config.small" "$1/config.toml"
echo ready
exec cat
"""


class Small:
    """Bob, and what is done on his disk."""

    def __init__(self, friend: Friend, wrap: tuple[str, ...]) -> None:
        self.friend = friend
        self.home = friend.home
        self.wrap = wrap

    async def cli(self, *arguments: str, code: int | None = 0, stdin: bytes | None = None) -> Done:
        return await self.friend.cli(*arguments, code=code, stdin=stdin, wrap=self.wrap)

    async def shell(self, command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(*self.wrap, "sh", "-c", command), cwd="/", stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, command
        return out.decode()

    async def fill(self, *, leave_bytes: int) -> None:
        """Take the room there is, but for a little."""
        filler = f"{self.home}/filler"
        await self.shell(f"cat /dev/zero > {filler} 2> /dev/null || true")
        await self.shell(f"truncate -s -{leave_bytes} {filler}")

    async def make_room(self) -> None:
        await self.shell(f"rm {self.home}/filler")

    async def spooled(self) -> str:
        return await self.shell(f"ls {self.home}/spool {self.home}/blobs")


@pytest_asyncio.fixture
async def bob(friend: Callable[..., Friend]) -> AsyncIterator[Small]:
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("no small disk can be made here: unshare and nsenter are Linux's")
    one = friend("bob")
    root = os.geteuid() == 0
    holder = await asyncio.create_subprocess_exec(
        *("unshare", "-m" if root else "-rm", "sh", "-c", MOUNT, "sh", str(one.home), DISK),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    user = () if root else ("-U", "--preserve-credentials")
    small = Small(one, ("nsenter", "-t", str(holder.pid), *user, "-m", f"--wd={one.home.parent}"))
    try:
        if await holder.stdout.readline() != b"ready\n":
            pytest.skip("no small disk can be made here: this user may not mount one")
        yield small
        await small.cli("node", "stop")
        print(await small.shell(f"cat {one.home}/node.log"))  # noqa: T201
    finally:
        holder.stdin.close()
        await holder.wait()


@pytest_asyncio.fixture
async def alice(friend: Callable[..., Friend], bob: Small) -> Friend:
    """Alice, who has room and knows Bob."""
    one = friend("alice")
    await one.start()
    await one.create()
    await bob.cli("identity", "new", "--name", "bob", "--no-passphrase")
    ticket = (await bob.cli("contacts", "invite", "alice")).row["ticket"]
    assert (await one.cli("contacts", "add", "bob", ticket)).row["state"] == "active"
    return one


def says_full(done: Done) -> None:
    assert done.error["code"] == "disk_full"
    assert done.error["hint"]
    assert done.out == b""


async def test_what_does_not_fit_is_refused_and_leaves_nothing(alice: Friend, bob: Small) -> None:
    big = content(10_000_000)
    path = alice.home.parent / "big.bin"
    path.write_bytes(big)
    before = await bob.spooled()
    send = ("send-net", "--contact", "alice")
    says_full(await bob.cli(*send, "--file", str(path), code=74))
    says_full(await bob.cli(*send, "--spool", "--name", "stdin", "-", stdin=big, code=74))
    assert (await bob.cli("queue", "list")).rows == []
    assert (await bob.cli("sent", "list")).rows == []
    assert await bob.spooled() == before

    # A stream may have been offered before the disk is full: then it fails, on both sides.
    done = await bob.cli(*send, "--name", "stdin", "-", stdin=big, code=74)
    assert done.error["code"] == "disk_full"
    assert await bob.spooled() == before
    failed = (await bob.cli("sent", "list")).rows
    assert [row["id"] for row in failed] == [row["id"] for row in done.rows]
    assert all("No space left" in row["last_error"] for row in failed)

    async def told() -> bool:
        found = await alice.ask("transfers.list")
        return [(row["state"], row["error"]) for row in found] == [
            ("cancelled", row["last_error"].partition("did not refuse it: ")[2]) for row in failed
        ]

    await until(told)

    # The other way it waits until Bob has room, and Alice reads why; a text goes past it.
    await alice.queue_file("bob", "big.bin", big)
    sent = await alice.cli("send-net", "--contact", "bob", "--wait", "--timeout", "60s", "hello")
    assert sent.rows[-1]["state"] == "delivered"

    async def waits() -> bool:
        row = (await bob.cli("transfers", "list")).rows[0]
        return row["state"] == "offered" and "the disk lacks" in (row["error"] or "")

    await until(waits)
    (item,) = (await bob.cli("inbox", "list")).rows
    assert item["preview"] == "hello"
    (entry,) = await alice.ask("queue.list", {})
    assert entry["name"] == "big.bin"
    assert await bob.spooled() == before


async def test_a_disk_that_fills_up_loses_nothing(alice: Friend, bob: Small) -> None:
    await bob.fill(leave_bytes=300_000)
    send = ("send-net", "--contact", "alice", "--lane", "bulk")
    kept: list[str] = []
    for number in range(200):
        done = await bob.cli(*send, f"{number} {LONG}", code=None)
        if done.code != 0:
            break
        kept.append(f"{number} ")
    assert done.code == 74
    says_full(done)
    assert kept
    # What others send is not taken either, and stays with them.
    ids = [
        (await alice.ask("send-net", {"contact": "bob", "text": f"{number} {LONG}"}))["id"]
        for number in range(20)
    ]

    def turned_away() -> int:
        return alice.log_text().count("the peer is busy: the disk is full")

    async def is_turned_away() -> bool:
        return turned_away() > 0

    await until(is_turned_away)
    (waiting, *_) = await alice.ask("queue.list", {})
    assert "the disk is full" in waiting["last_error"]

    async def unwell() -> bool:
        rows = (await bob.cli("doctor", code=None)).rows
        return any(
            "the disk is full" in row["found"] for row in rows if row["check"] == "home disk"
        )

    await until(unwell, step_s=0.5)
    await asyncio.sleep(2)
    assert turned_away() == 1, "it did not wait as it was asked"
    await bob.make_room()

    async def well() -> bool:
        return (await bob.cli("doctor", code=None)).code == 0

    # Nothing is sent meanwhile: room is all that it takes.
    await until(well, step_s=0.5)

    async def takes() -> bool:
        return (await bob.cli(*send, "room again", code=None)).code == 0

    await until(takes, step_s=0.5)
    for id_ in ids:
        await alice.delivered(id_)
    received = [row["preview"] for row in reversed((await bob.cli("inbox", "list")).rows)]
    assert [text.split()[0] for text in received] == [str(number) for number in range(20)]

    async def all_there() -> bool:
        return len(await alice.texts()) >= len(kept) + 1

    await until(all_there)
    arrived = await alice.texts()
    assert arrived[-1] == "room again"
    assert [text.split()[0] for text in arrived[:-1]] == [text.strip() for text in kept]
    assert (await bob.cli("queue", "list")).rows == []


async def test_a_disk_that_fills_up_in_the_middle_of_a_file_pauses_it_and_says_so(
    alice: Friend, bob: Small
) -> None:
    big = content(3_000_000)
    await bob.cli("limits", "set", "--down", "300kB/s")
    id_ = await alice.queue_file("bob", "big.bin", big)

    async def of_bob() -> dict[str, Any]:
        (row,) = (await bob.cli("transfers", "list")).rows
        return dict(row)

    async def in_the_middle() -> bool:
        rows = (await bob.cli("transfers", "list")).rows
        return bool(rows) and bool(rows[0]["done_bytes"])

    await until(in_the_middle)
    await bob.fill(leave_bytes=0)

    async def alice_reads_why() -> bool:
        (row,) = await alice.ask("transfers.list")
        assert row["state"] in {"active", "paused"}, row
        return (row["state"], row["error"]) == ("paused", "the receiver's disk is full")

    await until(alice_reads_why)
    (entry,) = await alice.ask("queue.list", {})
    assert entry["last_error"] == "paused: the receiver's disk is full"
    assert (await alice.ask("queue.show", {"id": id_}))["last_error"] == entry["last_error"]
    row = await of_bob()
    assert "No space left" in row["error"] or "the disk is full" in row["error"]
    assert 0 < row["done_bytes"] < len(big)

    # Another session brings no other news.
    await alice.stop()
    await alice.start()
    await until(alice_reads_why)

    await bob.make_room()
    await bob.cli("limits", "set", "--down", "off")
    await alice.delivered(id_)
    (item,) = (await bob.cli("inbox", "list")).rows
    shown = (await bob.cli("inbox", "show", item["id"])).row
    assert shown["blake2b"] == digest(big)
    assert [row["last_error"] for row in (await alice.ask("sent.list", {}))] == [None]
