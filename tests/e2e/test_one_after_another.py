"""A loop of a script: thirty files, each sent once the one before is delivered."""

from __future__ import annotations

import pytest

from tests.support.nodes import Friend, content

pytestmark = pytest.mark.asyncio

FILES = 30


async def test_thirty_files_in_a_loop(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    sent = []
    for number in range(FILES):
        sent.append(content(100_000 + number, seed=number))
        await alice.delivered(await alice.queue_file("bob", f"{number}.bin", sent[-1]))
    rows = await bob.ask("inbox.list", {"limit": 2 * FILES})
    assert [await bob.saved(row["id"]) for row in reversed(rows)] == sent
