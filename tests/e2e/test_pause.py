"""Pause, resume and cancel a file in the middle, from either side, over sessions and restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.nodes import Friend, Traffic, content, until

pytestmark = pytest.mark.asyncio

SIZE = 24_000_000
RATE_BYTES_S = 3 << 20
"""Slow enough that there is a middle."""
LATE_BYTES = 3 << 20
"""What may still come after a pause: what was under way."""


async def begun(alice: Friend, bob: Friend) -> tuple[str, Traffic]:
    """Have a file in the middle; return the id of its entry."""
    traffic = Traffic(alice, bob)
    id_ = await alice.queue_file("bob", "big.bin", content(SIZE))

    async def in_the_middle() -> bool:
        return traffic.towards_bytes >= SIZE // 6

    await until(in_the_middle, step_s=0.01)
    return id_, traffic


async def row(one: Friend) -> dict[str, Any]:
    """Return the newest transfer."""
    found = (await one.ask("transfers.list"))[0]
    assert isinstance(found, dict)
    return found


async def reads(one: Friend, state: str, error: str | None) -> None:
    async def so() -> bool:
        found = await row(one)
        return (found["state"], found["error"]) == (state, error)

    try:
        await until(so, timeout_s=30)
    except AssertionError:
        raise AssertionError(await row(one)) from None


async def quiet(traffic: Traffic) -> None:
    """Expect no chunk to come any more."""
    await asyncio.sleep(1.0)
    before = traffic.towards_bytes
    await asyncio.sleep(0.5)
    assert traffic.towards_bytes - before < 100_000


async def moves(one: Friend, direction: str) -> None:
    """Expect figures that fit the link."""

    async def shown() -> bool:
        found = await row(one)
        assert (found["direction"], found["state"], found["size"]) == (direction, "active", SIZE)
        return bool(
            found["rate_bytes_s"]
            and 0.05 < found["progress"] < 1
            and found["rate_bytes_s"] < 4 * RATE_BYTES_S
            and 0 < found["eta_s"] < 60
        )

    await until(shown)


async def test_paused_stays_paused_over_restarts_until_resumed(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    entry, traffic = await begun(alice, bob)
    await asyncio.gather(moves(alice, "out"), moves(bob, "in"))
    assert (await row(alice))["message"] == entry
    for one, other, side in ((alice, bob, "sender"), (bob, alice, "receiver")):
        # The id that send-net printed will do as well as the transfer's.
        id_ = entry if one is alice else (await row(one))["id"]
        assert (await one.cli("transfers", "pause", id_)).row["state"] == "paused"
        await reads(other, "paused", f"paused by the {side}")
        at_bytes = traffic.towards_bytes
        for victim in pair if one is alice else (bob,):
            await victim.kill()
            await victim.start()
        await reads(one, "paused", None)
        await reads(other, "paused", f"paused by the {side}")
        await quiet(traffic)
        assert traffic.towards_bytes < at_bytes + LATE_BYTES
        refused = await other.cli("transfers", "resume", (await row(other))["id"], code=2)
        assert "only your contact" in refused.error["hint"]
        resumed = (await one.cli("transfers", "resume", id_)).row
        assert resumed["state"] in {"active", "offered"}
        if one is alice:
            await reads(other, "active", None)
    await alice.delivered(entry)
    (item,) = await bob.ask("inbox.list", {})
    assert await bob.saved(item["id"]) == content(SIZE)
    for one in pair:
        found = await row(one)
        assert (found["state"], found["progress"], found["done_bytes"]) == ("done", 1.0, SIZE)
    done = await alice.cli("transfers", "pause", entry, code=2)
    assert "done already" in done.error["message"]


async def test_given_up_from_either_side_near_or_far(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    taken_back, rejected = "cancelled by the sender", "refused by the receiver"

    entry, traffic = await begun(alice, bob)
    assert (await alice.cli("queue", "cancel", entry)).row["state"] == "cancelled"
    for one in pair:
        await reads(one, "cancelled", taken_back)
    await quiet(traffic)

    entry, traffic = await begun(alice, bob)
    mine = await alice.cli("transfers", "reject", (await row(alice))["id"], code=2)
    assert "queue cancel" in mine.error["hint"]
    gone = (await bob.cli("transfers", "reject", (await row(bob))["id"])).row
    assert (gone["state"], gone["error"]) == ("cancelled", rejected)
    await reads(alice, "cancelled", rejected)
    shown = (await alice.cli("sent", "show", entry)).row
    assert (shown["state"], shown["last_error"]) == ("refused", rejected)

    entry, _ = await begun(alice, bob)
    await bob.kill()
    await alice.cli("queue", "cancel", entry)
    await bob.start()
    await reads(bob, "cancelled", taken_back)

    await begun(alice, bob)
    await alice.kill()
    await bob.cli("transfers", "reject", (await row(bob))["id"])
    await alice.start()
    await reads(alice, "cancelled", rejected)
    assert list((bob.home / "blobs").iterdir()) == []

    async def nothing_spooled() -> bool:
        return not list((alice.home / "spool").iterdir())

    await until(nothing_spooled, timeout_s=5)
