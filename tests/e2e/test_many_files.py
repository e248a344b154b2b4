"""Many files for a contact who is away: all arrive, each once, whatever the places and the limits.

`PEERPOST_MANY_FILES=150 python3 dev.py pytest tests/e2e/test_many_files.py` tries it with more.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support.nodes import WAIT_S, Friend, content, until

COUNT = int(os.environ.get("PEERPOST_MANY_FILES", "40"))
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


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [None, "3MB/s"])
async def test_many_files_for_a_contact_who_is_away_arrive_once(
    pair: tuple[Friend, Friend], folder: Path, limit: str | None
) -> None:
    alice, bob = pair
    if limit is not None:
        await bob.cli("limits", "set", "--down", limit)
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
