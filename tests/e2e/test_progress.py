"""What the sender of a file reads of its progress is what the receiver has, however slow the way between them."""

from __future__ import annotations

import pytest

from peerpost.protocol.chunk_window import MIN_WINDOW_BYTES
from tests.support.nodes import Friend, content, until

pytestmark = pytest.mark.asyncio

SIZE = 6_000_000
RATE_BYTES_S = 600_000
FEW = 4


async def test_the_sender_never_claims_more_than_the_receiver_has(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await bob.cli("limits", "set", "--down", f"{RATE_BYTES_S // 1000}kB/s")
    id_ = await alice.queue_file("bob", "a", content(SIZE))
    told: list[int] = []

    async def whole() -> bool:
        found = await bob.ask("transfers.list")
        before = found[0]["done_bytes"] if found else 0
        row = await alice.ask("transfers.show", {"id": id_})
        queued = await alice.ask("sent.show", {"id": id_})
        found = await bob.ask("transfers.list")
        after = found[0]["done_bytes"] if found else 0
        for shown in (row, queued):
            if shown["state"] in {"done", "delivered"}:
                assert after == SIZE
                continue
            done = shown["done_bytes"]
            # Between two looks at what the receiver has; the sender hears of it when it is asked for more.
            assert before - 2 * MIN_WINDOW_BYTES <= (done or 0) <= after, (before, done, after)
            if done and shown["eta_s"]:
                told.append(done)
                # At the rate that is told, and that is the one of the link.
                assert shown["rate_bytes_s"] < 3 * RATE_BYTES_S
                assert (SIZE - done) / shown["rate_bytes_s"] <= shown["eta_s"] + 1
        return bool(row["state"] == "done")

    await until(whole, step_s=0.1)
    assert len(set(told)) >= FEW, told
    assert told == sorted(told)


async def test_who_waited_for_a_file_on_its_way_is_told_so(pair: tuple[Friend, Friend]) -> None:
    alice, _bob = pair
    await alice.cli("limits", "set", "--up", "300kB/s")
    told = await alice.cli(
        *("send", "--contact", "bob", "--name", "a", "--wait", "--timeout", "4", "-"),
        stdin=content(3_000_000),
        code=75,
    )
    assert "is on its way, " in told.error["message"]
    assert "goes on by itself" in told.error["hint"]
