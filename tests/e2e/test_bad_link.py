"""A link that flips bits or drops connections at random delays a file, and never changes it."""

from __future__ import annotations

import random

import pytest

from tests.support.nodes import Friend, content, until

pytestmark = pytest.mark.asyncio

SIZE = 10_000_000
EVERY_BYTES = 3_000_000
"""About three times per file: often enough to hurt, seldom enough to get anywhere."""


@pytest.mark.parametrize("temper", ["flip_every_bytes", "drop_every_bytes"])
async def test_a_file_and_a_text_arrive_whole(pair: tuple[Friend, Friend], temper: str) -> None:
    alice, bob = pair
    links = (alice.link, bob.link)
    for seed, link in enumerate(links):
        link.faults.random = random.Random(seed)
        setattr(link.faults, temper, EVERY_BYTES)

    def struck() -> int:
        return sum(link.flips + link.cuts for link in links)

    sent = {}
    # One file at least, and as many as it takes for the link to have struck.
    while not sent or struck() < 2:
        number = len(sent)
        sent[f"file-{number}"] = content(SIZE, seed=number)
        id_ = await alice.queue_file("bob", f"file-{number}", sent[f"file-{number}"])
        await alice.ask("send-net", {"contact": "bob", "text": f"text {number}"})
        await alice.delivered(id_)
        assert number < 20

    async def all_there() -> bool:
        return len(await bob.ask("inbox.list", {})) >= 2 * len(sent)

    await until(all_there)
    items = await bob.ask("inbox.list", {})
    files = {item["name"]: await bob.saved(item["id"]) for item in items if item["kind"] == "file"}
    assert files == sent
    texts = [item["preview"] for item in reversed(items) if item["kind"] == "text"]
    assert texts == [f"text {number}" for number in range(len(sent))]
    assert len(items) == 2 * len(sent)
    # A flipped bit must have cost the connection, or it was not what the link carried.
    assert sum(link.connections for link in links) > 1
