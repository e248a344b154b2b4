"""Pause, resume and cancel a file in the middle, from either side, over sessions and restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.nodes import Friend, Traffic, content, until

pytestmark = pytest.mark.asyncio

SIZE = 12_000_000
RATE_BYTES_S = 3 << 20
"""Slow enough that there is a middle."""
LATE_BYTES = 3 << 20
"""What may still come after a pause: what was under way."""


async def begun(alice: Friend, bob: Friend) -> tuple[str, Traffic]:
    """Have a file in the middle; return the id of its entry."""
    traffic = Traffic(alice, bob)
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    id_ = await alice.queue_file("bob", "big.bin", content(SIZE))

    async def in_the_middle() -> bool:
        return traffic.towards_bytes >= SIZE // 6

    await until(in_the_middle)
    return id_, traffic


async def row(one: Friend) -> dict[str, Any]:
    (found,) = await one.ask("transfers.list")
    assert isinstance(found, dict)
    return found


async def reads(one: Friend, state: str, error: str | None) -> None:
    async def so() -> bool:
        found = await row(one)
        return (found["state"], found["error"]) == (state, error)

    try:
        await until(so, timeout_s=20)
    except AssertionError:
        raise AssertionError(await row(one)) from None


async def quiet(traffic: Traffic) -> None:
    """Expect no chunk to come any more."""
    await asyncio.sleep(1.0)
    before = traffic.towards_bytes
    await asyncio.sleep(1.0)
    assert traffic.towards_bytes - before < 100_000


@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_paused_stays_paused_over_restarts_until_resumed(
    pair: tuple[Friend, Friend], side: str
) -> None:
    alice, bob = pair
    entry, traffic = await begun(alice, bob)
    one, other = (alice, bob) if side == "sender" else (bob, alice)
    paused = (await one.cli("transfers", "pause", (await row(one))["id"])).row
    assert paused["state"] == "paused"
    await reads(other, "paused", f"paused by the {side}")
    at_bytes = traffic.towards_bytes
    await quiet(traffic)
    for victim in (one, other):
        await victim.kill()
        await victim.start()
    await reads(one, "paused", None)
    await reads(other, "paused", f"paused by the {side}")
    await quiet(traffic)
    assert traffic.towards_bytes < min(SIZE, at_bytes + LATE_BYTES)

    refused = await other.cli("transfers", "resume", (await row(other))["id"], code=2)
    assert "only your contact" in refused.error["hint"]
    # The id that send-net printed will do as well.
    id_ = entry if one is alice else (await row(one))["id"]
    assert (await one.cli("transfers", "resume", id_)).row["state"] in {"active", "offered"}
    await alice.delivered(entry)
    (item,) = await bob.ask("inbox.list", {})
    assert await bob.saved(item["id"]) == content(SIZE)
    for friend in pair:
        found = await row(friend)
        assert (found["state"], found["progress"], found["done_bytes"]) == ("done", 1.0, SIZE)
    done = await one.cli("transfers", "pause", id_, code=2)
    assert "done already" in done.error["message"]


async def test_figures_while_it_moves(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await begun(alice, bob)
    await asyncio.sleep(1.0)
    for one, direction in ((alice, "out"), (bob, "in")):
        found = await row(one)
        assert (found["direction"], found["state"], found["size"]) == (direction, "active", SIZE)
        assert 0.1 < found["progress"] < 1
        assert 0.3 * RATE_BYTES_S < found["rate_bytes_s"] < 3 * RATE_BYTES_S
        assert 0 < found["eta_s"] < 30
    (entry,) = await alice.ask("queue.list")
    assert 0.1 < entry["progress"] < 1
    assert (await row(alice))["message"] == entry["id"]


async def test_the_sender_takes_it_back(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    entry, traffic = await begun(alice, bob)
    cancelled = (await alice.cli("queue", "cancel", entry)).row
    assert cancelled["state"] == "cancelled"
    await reads(bob, "cancelled", "cancelled by the sender")
    await reads(alice, "cancelled", "cancelled by the sender")
    await quiet(traffic)
    assert list((bob.home / "blobs").iterdir()) == []


async def test_the_receiver_gives_it_up(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    entry, traffic = await begun(alice, bob)
    mine = await alice.cli("transfers", "reject", (await row(alice))["id"], code=2)
    assert "queue cancel" in mine.error["hint"]
    rejected = (await bob.cli("transfers", "reject", (await row(bob))["id"])).row
    assert (rejected["state"], rejected["error"]) == ("cancelled", "refused by the receiver")
    await reads(alice, "cancelled", "refused by the receiver")
    shown = (await alice.cli("sent", "show", entry)).row
    assert (shown["state"], shown["last_error"]) == ("refused", "refused by the receiver")
    await quiet(traffic)
    assert list((bob.home / "blobs").iterdir()) == []


@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_given_up_while_the_other_is_away(pair: tuple[Friend, Friend], side: str) -> None:
    alice, bob = pair
    entry, _ = await begun(alice, bob)
    if side == "sender":
        await bob.kill()
        await alice.cli("queue", "cancel", entry)
        await bob.start()
        await reads(bob, "cancelled", "cancelled by the sender")
    else:
        await alice.kill()
        await bob.cli("transfers", "reject", (await row(bob))["id"])
        await alice.start()
        await reads(alice, "cancelled", "refused by the receiver")
    assert list((bob.home / "blobs").iterdir()) == []
    assert list((alice.home / "spool").iterdir()) == []
