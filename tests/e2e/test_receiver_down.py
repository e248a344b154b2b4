"""The receiver is away: what is sent is queued, waits without supervision, and arrives when it is back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.nodes import Friend, meet, processes_in, until

pytestmark = pytest.mark.asyncio

IDLE_EXIT_S = 1.0
BENCH = Path(__file__).parents[2] / "bench" / "bench_queue.py"


@pytest_asyncio.fixture
async def apart(friend: Callable[..., Friend]) -> tuple[Friend, Friend]:
    """Alice and Bob, who know each other and whose nodes are down."""
    alice, bob = friend("alice"), friend("bob")
    for one in (alice, bob):
        await one.cli("identity", "new", "--name", one.name, "--no-passphrase")
    await meet(bob, alice)
    for one, idle_exit in ((alice, "1s"), (bob, "4s")):
        await one.cli("node", "stop")
        one.configure(idle_exit=idle_exit)
    return alice, bob


def nodes(one: Friend) -> list[int]:
    return [pid for pid, _ in processes_in(one.home)]


async def settled(one: Friend) -> list[int]:
    """Return the nodes, without what a node that begins has forked and not yet made another program."""
    before = nodes(one)
    await asyncio.sleep(0.2)
    return [pid for pid in nodes(one) if pid in before]


async def left(one: Friend) -> None:
    async def gone() -> bool:
        return not nodes(one)

    await until(gone)


async def send_to_nobody(alice: Friend, text: str) -> str:
    """Queue a text that cannot be delivered now, from a node that the command starts."""
    assert nodes(alice) == []
    sent = (await alice.cli("send-net", "--contact", "bob", text)).row
    assert sent["state"] == "queued"
    return str(sent["id"])


async def has(bob: Friend, *texts: str) -> None:
    async def arrived() -> bool:
        return len(await bob.texts()) >= len(texts)

    await until(arrived)
    assert await bob.texts() == list(texts)


async def test_it_arrives_at_node_run_and_the_sending_node_stays_until_then(
    apart: tuple[Friend, Friend],
) -> None:
    alice, bob = apart
    id_ = await send_to_nobody(alice, "are you there?")
    (pid,) = await settled(alice)
    # Idle or not: with something queued the node must not leave.
    await asyncio.sleep(3 * IDLE_EXIT_S)
    assert nodes(alice) == [pid]
    assert (await alice.cli("queue", "list")).row["id"] == id_

    process = await bob.run_node()
    await has(bob, "are you there?")
    # The receipt is what lets the sender's node go.
    await left(alice)
    assert nodes(bob) == [process.pid]  # who runs a node wants it to stay
    process.terminate()
    assert await process.wait() == 143
    shown = (await alice.cli("sent", "show", id_)).row
    assert (shown["id"], shown["state"]) == (id_, "delivered")
    assert (await alice.cli("queue", "list")).rows == []


async def test_it_arrives_at_a_node_that_any_command_started(apart: tuple[Friend, Friend]) -> None:
    alice, bob = apart
    id_ = await send_to_nobody(alice, "and now?")
    # The sending node may end as well: what is queued is on its disk.
    await alice.cli("node", "stop")
    assert nodes(alice) == []
    await alice.cli("contacts", "list")
    await bob.cli("contacts", "list")
    await has(bob, "and now?")
    # Nothing to do on either side: both leave by themselves, and nobody told them to.
    await asyncio.gather(left(alice), left(bob))
    for one in (alice, bob):
        assert "idle, and nothing is queued" in one.log_text()
    assert (await alice.cli("sent", "show", id_)).row["state"] == "delivered"


async def test_wait_gives_up_with_75_and_the_message_stays_queued(
    apart: tuple[Friend, Friend],
) -> None:
    alice, _ = apart
    started_s = time.monotonic()
    done = await alice.cli(
        *("send-net", "--contact", "bob", "--wait", "--timeout", "1s", "hello?"), code=75
    )
    assert time.monotonic() - started_s >= 1
    assert done.row["state"] == "queued"  # one line: the second would say that it was delivered
    assert done.error["code"] == "timeout"
    assert done.row["id"] in done.error["message"]
    assert f"peerpost queue show {done.row['id']}" in done.error["hint"]
    assert (await alice.cli("queue", "show", done.row["id"])).row["state"] == "queued"


async def test_twenty_at_once_with_no_node_running_start_one_and_all_arrive_once(
    apart: tuple[Friend, Friend],
) -> None:
    alice, bob = apart
    texts = [f"message {number}" for number in range(20)]
    done = await asyncio.gather(
        *(alice.cli("send-net", "--contact", "bob", text) for text in texts)
    )
    assert len({one.row["id"] for one in done}) == 20
    assert len(await settled(alice)) == 1
    process = await bob.run_node()

    async def all_there() -> bool:
        return len(await bob.texts()) >= 20

    await until(all_there)
    await left(alice)
    assert Counter(await bob.texts()) == Counter(texts)
    process.terminate()
    assert await process.wait() == 143


async def test_a_node_that_a_command_started_stays_once_it_is_asked_to(
    apart: tuple[Friend, Friend],
) -> None:
    alice, _ = apart
    await alice.cli("contacts", "list")
    pids = await settled(alice)
    assert len(pids) == 1
    await alice.cli("node", "start")
    await asyncio.sleep(3 * IDLE_EXIT_S + 1)
    assert nodes(alice) == pids
    await alice.cli("node", "stop")
    await left(alice)


async def test_many_who_are_away_do_not_hold_up_those_who_are_there(folder: Path) -> None:
    out = folder / "out"
    command = [sys.executable, str(BENCH), "--contacts=60", "--messages=1600", "--reachable=2"]
    options = [
        "--once",
        "--drained=1500",
        "--waiting=2",
        "--texts=40",
        f"--folder={folder}",
        f"--json={out}",
    ]
    done = await asyncio.to_thread(
        subprocess.run, [*command, *options], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(out.read_text())["rows"]["with all"]
    # All 1,500 arrived, or the benchmark would wait for ever; figures are its long form's business.
    assert row["took_s"] < 20
    assert row["waiting"] < 0.5
    assert sorted(row["text_ms"])[20] < 1000


async def test_wait_gives_up_saying_where_it_stands_and_why(pair: tuple[Friend, Friend]) -> None:
    """The contact is there, and has no room: that it is away would be the wrong thing to look into."""
    alice, bob = pair
    await bob.ask("contacts.edit", {"name": "alice", "quota": 0})
    send = ("send-net", "--contact", "bob", "--wait", "--timeout", "5s", "hello?")
    done = await alice.cli(*send, code=75)
    assert "quota" in done.error["message"]
    assert "reachable" not in done.error["hint"]


async def test_what_expired_while_it_was_waited_for_was_refused_by_nobody(
    apart: tuple[Friend, Friend],
) -> None:
    alice, _ = apart
    send = ("send-net", "--contact", "bob", "--wait", "--expires", "1s", "hello?")
    done = await alice.cli(*send, code=76)
    assert done.error["code"] == "expired"
