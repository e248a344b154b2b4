"""A bot that answers: it reads the oldest first, and marks as read only what it has answered."""

from __future__ import annotations

import json

import pytest

from tests.support.nodes import Friend, until

pytestmark = pytest.mark.asyncio

LONG = "é" * 50_000 + "\n"
"""More than one message holds: it comes as a file, and is told in pieces."""


async def test_the_oldest_first_and_nothing_marked_before_it_is_answered(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    texts = [f"text {number}" for number in range(5)]
    for text in texts:
        await alice.delivered((await alice.cli("send-net", "--contact", "bob", text)).row["id"])
    listed = (await bob.cli("inbox", "list", "--oldest")).rows
    assert [row["preview"] for row in listed] == texts
    assert [row["preview"] for row in (await bob.cli("inbox", "list")).rows] == texts[::-1]
    # Page by page, in the same order.
    found, more = [], []
    after: tuple[str, ...] = ()
    while True:
        page = await bob.cli("inbox", "list", "--oldest", "--unread", "--limit", "2", *after)
        found += [row["preview"] for row in page.rows]
        said = [json.loads(line) for line in page.err.splitlines()]
        if not said:
            break
        more += said
        after = ("--after", said[-1]["more"])
    assert (found, len(more)) == (texts, 2)

    id_ = listed[0]["id"]
    for _ in range(2):
        shown = (await bob.cli("inbox", "show", id_, "--peek")).row
        assert (shown["body"], shown["unread"]) == ("text 0", True)
    assert (await bob.cli("inbox", "list", "--oldest", "--unread")).rows[0]["id"] == id_
    await bob.cli("inbox", "mark", id_)
    assert (await bob.cli("inbox", "list", "--oldest", "--unread")).rows[0]["preview"] == "text 1"
    await bob.cli("inbox", "show", listed[1]["id"])
    assert (await bob.cli("inbox", "list", "--oldest", "--unread")).rows[0]["preview"] == "text 2"


async def test_a_long_text_is_peeked_at_too(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    sent = (await alice.cli("send-net", "--contact", "bob", LONG)).row
    await alice.delivered(sent["id"])

    async def here() -> bool:
        return bool(await bob.ask("inbox.list"))

    await until(here)
    (item,) = await bob.ask("inbox.list")
    assert (await bob.cli("inbox", "show", item["id"], "--peek")).row["body"] == LONG
    assert (await bob.ask("inbox.list"))[0]["unread"] is True
    await bob.cli("inbox", "show", item["id"])
    assert (await bob.ask("inbox.list"))[0]["unread"] is False
