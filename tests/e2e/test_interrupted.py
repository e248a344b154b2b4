"""A file over a slow link goes on where it was, whoever is killed in the middle."""

from __future__ import annotations

import pytest

from tests.support.nodes import Friend, Traffic, content, digest, until

pytestmark = pytest.mark.asyncio

SIZE = 10_000_000
RATE_BYTES_S = 3 << 20
"""Slow enough that there is a middle."""
AGAIN_BYTES = 2 << 20
"""What two interruptions together may cost: what was under way and not yet on the disk."""


async def test_kill_9_of_the_receiver_and_then_of_the_sender(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    traffic = Traffic(alice, bob)
    data = content(SIZE)
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    id_ = await alice.queue_file("bob", "big.bin", data)

    for victim, share in ((bob, 0.25), (alice, 0.55)):

        async def so_far(wanted: float = share * SIZE) -> bool:
            return traffic.towards_bytes >= wanted

        await until(so_far, step_s=0.01)
        await victim.kill()
        # It was in the middle: something had arrived, and not all of it.
        assert share * SIZE <= traffic.towards_bytes < SIZE
        await victim.start()

    await alice.delivered(id_)
    again = traffic.towards_bytes - SIZE
    assert 0 < again < AGAIN_BYTES, f"{again} bytes more than the file crossed the link"
    (item,) = await bob.ask("inbox.list", {})
    shown = await bob.ask("inbox.show", {"id": item["id"]})
    assert (shown["name"], shown["size"], shown["blake2b"]) == ("big.bin", SIZE, digest(data))
    assert await bob.saved(item["id"]) == data
