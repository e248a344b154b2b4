"""Many files for a contact who is away: all arrive, each once, whatever the places and the limits.

`PEERPOST_MANY_FILES=150 python3 dev.py pytest tests/e2e/test_many_files.py` tries it with more.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support.nodes import WAIT_S, Friend, Traffic, content, until

pytestmark = pytest.mark.asyncio

COUNT = int(os.environ.get("PEERPOST_MANY_FILES", "40"))
SHARING, SHARE_BYTES = 16, 800_000
LONG_TEXT = "x" * 70_000
"""Too long for one message: it travels as a file does."""


async def _queue(alice: Friend, folder: Path) -> Counter[str]:
    """Queue files, and between them long texts, a folder and a pipe; return what has to arrive, by name."""
    expected: Counter[str] = Counter()
    tree = folder / "tree"
    tree.mkdir()
    (tree / "leaf").write_text("a leaf")
    for at in range(COUNT):
        await alice.queue_file("bob", f"file-{at}", content(20_000, at))
        expected[f"file-{at}"] += 1
    for at in range(COUNT // 4):
        await alice.ask("send-net", {"contact": "bob", "text": f"text-{at} {LONG_TEXT}"})
        expected[f"text-{at}"] += 1
    await alice.cli("send-net", "--contact", "bob", "--file", str(tree))
    expected["tree"] += 1
    await alice.cli("send-net", "--contact", "bob", "--file", "-", "--name", "pipe", stdin=b"pipe")
    expected["pipe"] += 1
    return expected


@pytest.mark.parametrize("limit", [None, ("bob", "--down", "3MB/s"), ("alice", "--up", "3MB/s")])
async def test_many_files_for_a_contact_who_is_away_arrive_once(
    pair: tuple[Friend, Friend], folder: Path, limit: tuple[str, ...] | None
) -> None:
    alice, bob = pair
    if limit is not None:
        who, *limited = limit
        await (bob if who == "bob" else alice).cli("limits", "set", *limited)
    await bob.stop()
    expected = await _queue(alice, folder)
    await bob.start()

    async def all_ended() -> bool:
        return await alice.ask("queue.list") == []

    await until(all_ended, timeout_s=WAIT_S + COUNT / 5, step_s=0.2)
    states = Counter(row["state"] for row in await alice.ask("sent.list", {"limit": 100_000}))
    assert states == {"delivered": expected.total()}
    items = await bob.ask("inbox.list", {"limit": 100_000})
    texts = [await bob.ask("inbox.show", {"id": i["id"]}) for i in items if i["kind"] == "text"]
    arrived = Counter(item["name"] for item in items if item["kind"] == "file")
    arrived += Counter(text["body"].split()[0] for text in texts)
    assert arrived == expected


async def test_files_that_share_a_limit_are_sent_once(pair: tuple[Friend, Friend]) -> None:
    """Each waits longer for its turn than a receiver waits for an answer; what has not left is not sent again."""
    alice, bob = pair
    await alice.cli("limits", "set", "--up", "500kB/s")
    await bob.stop()
    for at in range(SHARING):
        await alice.queue_file("bob", f"file-{at}", content(SHARE_BYTES, at))
    traffic = Traffic(alice, bob)
    await bob.start()

    async def all_ended() -> bool:
        return await alice.ask("queue.list") == []

    await until(all_ended, timeout_s=2 * WAIT_S, step_s=0.2)
    states = {row["state"] for row in await alice.ask("sent.list", {})}
    assert states == {"delivered"}
    assert traffic.towards_bytes < 1.1 * SHARING * SHARE_BYTES
