"""What was sent is known again by what it says, on a screen of any width, and harms no terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest

from tests.support.nodes import Done, Friend, meet
from tests.support.terminal import shown_by

pytestmark = pytest.mark.asyncio

HOSTILE = "\x1b[2J\u202egreen\x07 is the build\r\nand more of it"


async def printed(friend: Friend, *arguments: str, columns: int) -> list[str]:
    """Return what a command prints on a terminal of that width."""
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(friend.home), "--color", "never"]
    code, shown = await asyncio.to_thread(shown_by, [*command, *arguments], columns=columns)
    assert code == 0
    return shown.decode().splitlines()


async def test_a_text_that_was_sent_has_its_beginning_in_the_lists(
    friend: Callable[..., Friend],
) -> None:
    alice, bob = friend("alice"), friend("bob")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    text = await alice.cli("send", "--contact", "bob", "--wait", "The build is green.\nAnd red.")
    await alice.delivered(await alice.queue_file("bob", "report.pdf", b"hello"))
    await bob.stop()
    await alice.cli("send", "--contact", "bob", HOSTILE)
    long = (await alice.cli("send", "--contact", "bob", "word " * 5000)).row["id"]
    taken = (await alice.cli("send", "--contact", "bob", "no, not this")).row["id"]
    await alice.cli("queue", "cancel", taken)

    def previews(done: Done) -> list[object]:
        return [row["preview"] for row in done.rows]

    *_, hostile, file, first = previews(await alice.cli("sent", "list"))
    assert (first, file) == ("The build is green. And red.", "report.pdf")
    assert "is the build and more of it" in str(hostile)
    shown = (await alice.cli("sent", "show", text.rows[0]["id"])).row
    assert shown["preview"] == "The build is green. And red."
    assert (await alice.cli("sent", "show", taken)).row["preview"] is None
    assert len((await alice.cli("queue", "show", long)).row["preview"]) <= 80
    assert previews(await alice.cli("queue", "list"))[0] == hostile
    for columns in (40, 80, 200):
        for command in (("sent", "list"), ("queue", "list")):
            lines = await printed(alice, *command, columns=columns)
            assert all(len(line) <= columns for line in lines), lines
            assert all(line.isprintable() for line in lines), lines
            letters = "".join("".join(lines).split())
            assert "<U+001B>" in letters
