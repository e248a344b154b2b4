"""A file goes on where it was: after a cut line, at another address, on another day. Nobody gives a command."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.netlab import Lab, Quality, Side, missing
from tests.support.nodes import Friend, Traffic, content, digest, until
from tests.support.resident import Resident
from tests.support.saturated import LANES, file_bytes, residents

pytestmark = pytest.mark.asyncio
in_a_lab = pytest.mark.skipif(bool(missing()), reason=missing())

SIZE = 10_000_000
LINE = Quality(rate_bytes_s=5_000_000, delay_s=0.01)
AGAIN_BYTES = 2 << 20
"""What an interruption may cost: what was under way and not yet on the disk."""
HEADERS = 1.06
"""IP, TCP, Noise and frames, and what else is said."""
DATA = content(SIZE)


async def come_to(part: float, receiver: Friend) -> None:
    """Wait until a part of the file is there, and make sure that it is not all of it."""

    async def arrived() -> bool:
        return await file_bytes(receiver) >= SIZE * part

    await until(arrived, step_s=0.02)
    assert await file_bytes(receiver) < SIZE


async def whole(receiver: Friend) -> None:
    (item,) = await receiver.ask("inbox.list", {})
    shown = await receiver.ask("inbox.show", {"id": item["id"]})
    assert (shown["size"], shown["blake2b"]) == (SIZE, digest(DATA))


@in_a_lab
async def test_at_another_address_and_port() -> None:
    with Lab(LINE) as lab:
        async with residents(lab, LANES) as (alice, bob):
            before = lab.counts()[0].arrived_bytes
            id_ = await alice.queue_file("bob", "big.bin", DATA)
            moves: list[tuple[Resident, Side, str, float]] = [
                (bob, "right", "10.77.0.8", 0.3),
                (alice, "left", "10.77.0.9", 0.6),
            ]
            for mover, side, address, part in moves:
                await come_to(part, bob)
                await mover.stop()
                lab.readdress(side, address)
                mover.port = 40_404
                await mover.start()
            # Who moved knows where the other is, and says where it is now itself.
            await alice.delivered(id_)
            await whole(bob)
            crossed = lab.counts()[0].arrived_bytes - before
            assert crossed <= HEADERS * SIZE + 2 * AGAIN_BYTES
            for other, (mover, _, address, _) in zip((alice, bob), moves, strict=True):
                shown = await other.ask("contacts.show", {"name": mover.name})
                assert shown["addresses"][0] == f"/ip4/{address}/tcp/40404"


async def parted(*people: Resident) -> None:
    """Wait until each has noticed that the other is gone."""

    async def alone() -> bool:
        return not any([(await one.ask("contacts.list"))[0]["online"] for one in people])

    await until(alone, timeout_s=20)


@in_a_lab
@pytest.mark.slow
async def test_a_line_that_is_cut_for_a_moment_and_then_for_long() -> None:
    with Lab(LINE) as lab:
        async with residents(lab, LANES) as (alice, bob):
            before = lab.counts()[0].arrived_bytes
            id_ = await alice.queue_file("bob", "big.bin", DATA)
            await come_to(0.3, bob)
            lab.cut()
            await asyncio.sleep(1.0)
            lab.heal()
            await come_to(0.6, bob)
            lab.cut()
            await parted(alice, bob)
            # As a laptop that is opened in another place.
            lab.readdress("right", "10.77.0.9")
            lab.heal()
            await alice.delivered(id_)
            await whole(bob)
            crossed = lab.counts()[0].arrived_bytes - before
            assert crossed <= HEADERS * SIZE + 2 * AGAIN_BYTES
            shown = await alice.ask("contacts.show", {"name": "bob"})
            assert shown["addresses"][0].startswith("/ip4/10.77.0.9/tcp/")


async def test_on_another_day(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    traffic = Traffic(alice, bob)
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = 5_000_000
    id_ = await alice.queue_file("bob", "big.bin", DATA)
    await come_to(0.5, bob)
    await asyncio.gather(alice.stop(), bob.stop())
    await bob.start()
    await alice.start()
    await alice.delivered(id_)
    await whole(bob)
    assert traffic.towards_bytes <= HEADERS * SIZE + AGAIN_BYTES
