"""A contact who lies: what can be repaired is, what cannot ends with a reason, and nothing wrong is shown."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

import pytest

from peerpost.wire.inner import Lane
from tests.e2e.mallory import Mallory
from tests.support.hostile_sender import ALWAYS, Faults, HostilePeer, HostileSender
from tests.support.nodes import Friend, content, until

pytestmark = pytest.mark.asyncio

SIZE = 10_000_000
CHUNK = 1 << 18
WRONG: dict[str, Faults] = {
    "wrong": Faults(wrong={1: ALWAYS}),
    "moved": Faults(moved={0: ALWAYS}),
    "forged": Faults(forged={1: ALWAYS}),
    "gap": Faults(gap={0: ALWAYS}),
    "leaf": Faults(wrong_leaf={1: ALWAYS}),
    "size": Faults(lie="size"),
    "count": Faults(lie="count"),
    "root": Faults(lie="root"),
    "early": Faults(lie="early"),
    "ends": Faults(lie="two ends"),
}
"""Each of these can never become the file that was offered, and shows it by what is sent. What is merely
never sent ends by patience, in minutes: tests/messenger/protocol has a clock of its own for that."""


async def test_wrong_missing_short_and_repeated_chunks_are_asked_for_again(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await alice.stop()
    await alice.start("peerpost.demo.hostile")
    data = content(SIZE)
    await alice.delivered(await alice.queue_file("bob", "big.bin", data))
    (item,) = await bob.ask("inbox.list", {})
    assert await bob.saved(item["id"]) == data
    # It did lie, in each of its ways, and it was noticed.
    report = (alice.home / "hostile.txt").read_text()
    for trick in ("corrupted", "dropped", "cut short", "sent twice"):
        assert re.search(rf"[1-9]\d* {trick}", report), report
    assert "are asked for again" in bob.log_text()


async def invite(bob: Friend) -> str:
    invited = await bob.ask("contacts.invite", {"name": "mallory", "expires_s": 3600})
    return str(invited["ticket"])


async def test_a_sender_that_is_wrong_for_ever_gets_nothing_into_the_inbox(
    pair: tuple[Friend, Friend],
) -> None:
    _, bob = pair
    senders = {
        name: HostileSender(content(2 * CHUNK + 1000, seed), faults=faults, seed=seed)
        for seed, (name, faults) in enumerate(WRONG.items())
    }
    honest = HostileSender(content(2 * CHUNK + 1000, 99), seed=99)
    peer = HostilePeer(*senders.values(), honest)
    async with Mallory(await invite(bob)) as mallory:
        session, running = await mallory.session(peer)
        for name, sender in {**senders, "honest": honest}.items():
            session.send(Lane.BULK, mallory.offer(sender, f"{name}.bin"))
        found: dict[str, Any] = {}

        async def all_ended() -> bool:
            rows = await bob.ask("transfers.list", {})
            found.update({row["name"].removesuffix(".bin"): row for row in rows})
            states = [row["state"] for row in found.values()]
            return len(states) == len(WRONG) + 1 and not {"offered", "active"} & set(states)

        await until(all_ended)
        session.abort("the test is over")
        await running
    for name in WRONG:
        assert found[name]["state"] == "failed", (name, found[name])
        assert found[name]["error"], name
        assert senders[name].cancelled, f"{name}: the sender was not told"
    # Only what was honest is there, and none of the rest is left on the disk.
    assert (found["honest"]["state"], honest.completed) == ("done", True)
    (item,) = await bob.ask("inbox.list", {})
    assert item["name"] == "honest.bin"
    assert await bob.saved(item["id"]) == content(2 * CHUNK + 1000, 99)
    kept = {path.suffix for path in (bob.home / "blobs").iterdir()}
    assert kept == {".sealed", ".leaves"}
    assert len(list((bob.home / "blobs").iterdir())) == 2


GARBAGE = {
    "not UTF-8": b"\xff\xfe\x80\xc0\xc1",
    "a length of nothing": bytes(4),
    "a length beyond all bounds": b"\xff\xff\xff\xff",
    "noise": random.Random(1).randbytes(100_000),
    "an unknown type of frame": b"\x00\x00\x00\x05\xeehello",
    "an envelope of noise": b"\x00\x00\x01\x00\x01" + random.Random(2).randbytes(255),
    "a segment of noise": b"\x00\x00\x00\x09\x02" + random.Random(3).randbytes(8),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: peerpost\r\n\r\n",
}


async def test_garbage_after_hello_ends_that_session_and_nothing_else(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    before = (await bob.node_pid(), (await bob.ask("contacts.show", {"name": "alice"}))["path"])
    async with Mallory(await invite(bob)) as mallory:
        for what, garbage in GARBAGE.items():
            for lane in Lane:
                connection, lanes = await mallory.lanes()
                await lanes[lane].write(garbage)
                try:
                    async with asyncio.timeout(20):
                        await connection.wait_closed()
                except TimeoutError:
                    pytest.fail(f"{what}: bob goes on listening")
        assert (await bob.ask("contacts.show", {"name": "mallory"}))["state"] == "active"
    sent = await alice.cli("send-net", "--contact", "bob", "--wait", "all well?")
    assert sent.rows[-1]["state"] == "delivered"
    assert await bob.texts() == ["all well?"]
    after = (await bob.node_pid(), (await bob.ask("contacts.show", {"name": "alice"}))["path"])
    # The same process, and with Alice the same connection as before.
    assert after == before
    assert None not in after
    assert "Traceback" not in bob.log_text()
