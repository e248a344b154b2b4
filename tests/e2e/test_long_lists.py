"""A list longer than a page, from a real node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.nodes import Friend

COUNT = 1203
NOWHERE = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWFgFmJ9RcH6C89wR99TtToEhrXvjQWAaLrbZpwDrExotc"


@pytest.mark.asyncio
async def test_a_queue_of_more_than_a_page_is_listed_whole(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    await alice.start()
    await alice.create()
    await alice.ask("contacts.add", {"name": "bob", "id": "57" * 32, "address": NOWHERE})
    for start in range(0, COUNT, 100):
        texts = [f"{number}" for number in range(start, min(COUNT, start + 100))]
        wanted = ({"contact": "bob", "text": text} for text in texts)
        await asyncio.gather(*(alice.ask("send-net", params) for params in wanted))
    listed = (await alice.cli("queue", "list")).rows
    assert len({row["id"] for row in listed}) == COUNT
    cut = await alice.cli("sent", "list", "--limit", "1100")
    assert len(cut.rows) == 1100
    assert '"more"' in cut.err
    # A row that goes away while somebody reads breaks nothing.
    last = cut.rows[-1]
    await alice.ask("queue.cancel", {"id": last["id"]})
    rest = (await alice.cli("sent", "list", "--after", last["cursor"])).rows
    assert {row["id"] for row in (*cut.rows, *rest)} == {row["id"] for row in listed}
