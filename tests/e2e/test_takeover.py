"""A node that is to stay takes the home over from one that a command has started, and from no other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from peerpost.errors import AlreadyRunningError
from peerpost.store.homelock import HomeLock
from tests.support.nodes import Friend, Traffic, content, until

pytestmark = pytest.mark.asyncio

SIZE = 8_000_000
RATE_BYTES_S = 3 << 19
AGAIN_BYTES = 2 << 20
"""What the interruption may cost: what was under way and not yet on the disk."""
HANDED_OVER_S = 2.0
NOBODY = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWDoAjwXNPQhKAxPgVaxMhAr34X9SgodshFg5LicSnqAEm"
"""The discard port: nobody is there."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def by_command(alice: Friend) -> int:
    """Have a command start the node; return its process id."""
    await alice.stop()
    await alice.cli("inbox", "list")
    row = (await alice.cli("node", "status")).row
    assert row["stays"] is False
    return int(row["pid"])


async def ended(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 143


async def test_a_file_goes_on_over_the_node_that_took_over(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    pid = await by_command(alice)
    traffic = Traffic(alice, bob)
    bob.link.faults.rate_bytes_s = RATE_BYTES_S
    id_ = await alice.queue_file("bob", "big.bin", content(SIZE))

    async def in_the_middle() -> bool:
        return traffic.towards_bytes >= 0.3 * SIZE

    await until(in_the_middle, step_s=0.01)
    where = f"/ip4/127.0.0.1/tcp/{free_port()}"
    process = await alice.run_node("--listen", where)
    assert traffic.towards_bytes < SIZE
    status = (await alice.cli("node", "status")).row
    assert (status["addresses"], status["stays"]) == ([where], True)
    assert status["pid"] == process.pid != pid
    await alice.delivered(id_)
    assert traffic.towards_bytes - SIZE < AGAIN_BYTES
    # This one stays: nobody has it from it.
    for command in (("node", "run"), ("node", "start", "--listen", where)):
        done = await alice.cli(*command, code=71)
        assert f"process {process.pid}" in done.error["message"]
    assert (await alice.cli("node", "start")).row["pid"] == process.pid
    await ended(process)


async def test_it_hands_over_in_time_with_everything_committed(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await by_command(alice)
    bob.link.faults.rate_bytes_s = RATE_BYTES_S
    await alice.queue_file("bob", "big.bin", content(SIZE))
    sent = []

    async def send(number: int) -> None:
        row = await alice.ask("send-net", {"contact": "bob", "text": f"text {number}"})
        sent.append(row["id"])

    sending = [asyncio.ensure_future(send(number)) for number in range(200)]
    await sending[0]
    began_s = time.monotonic()
    await alice.ask("node.hand_over")

    async def free() -> bool:
        try:
            with HomeLock(alice.home):
                return True
        except AlreadyRunningError:
            return False

    await until(free, step_s=0.01)
    took_s = time.monotonic() - began_s
    assert took_s < HANDED_OVER_S
    await asyncio.gather(*sending, return_exceptions=True)
    assert sent
    await alice.cli("node", "start")
    known = {row["id"] for row in (await alice.cli("sent", "list")).rows}
    assert set(sent) <= known


async def test_a_start_with_nothing_else_to_ask_has_it_stay(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    pid = (await alice.cli("node", "status")).row["pid"]
    row = (await alice.cli("node", "start")).row
    assert (row["pid"], row["stays"]) == (pid, True)
    await alice.cli("node", "run", code=71)
    await alice.cli("node", "stop")
    row = (await alice.cli("node", "stop")).row
    assert row == {"state": "stopped", "pid": None}


@pytest.mark.parametrize("running", [True, False], ids=["by-a-command", "none-runs"])
async def test_starts_at_once_are_one_start(friend: Callable[..., Friend], running: bool) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    if not running:
        await alice.cli("node", "stop")
    started = await asyncio.gather(
        *(alice.cli(*verbose, "node", "start") for verbose in ((), ("-v",), (), ("-v",)))
    )
    (pid,) = {done.row["pid"] for done in started}
    row = (await alice.cli("node", "status")).row
    assert (row["pid"], row["stays"]) == (pid, True)


async def test_commands_go_on_while_the_node_changes(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await by_command(alice)
    sending = [
        asyncio.ensure_future(alice.cli("send-net", "--contact", "bob", f"text {number}"))
        for number in range(8)
    ]
    process = await alice.run_node()
    sent = [done.row["id"] for done in await asyncio.gather(*sending)]
    for id_ in sent:
        await alice.delivered(id_)
    assert sorted(await bob.texts()) == [f"text {number}" for number in range(8)]
    await ended(process)


@pytest.mark.parametrize("several", [False, True], ids=["a-text", "two-files"])
async def test_who_waits_for_a_delivery_waits_on(
    pair: tuple[Friend, Friend], several: bool, tmp_path: Path
) -> None:
    alice, bob = pair
    await by_command(alice)
    await bob.stop()
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_bytes(content(100_000))
    what = ("--file", *map(str, files)) if several else ("hello",)
    send = ("send-net", "--contact", "bob", "--wait", "--timeout", "60s", *what)
    waiting = asyncio.ensure_future(alice.cli(*send))

    async def queued() -> bool:
        return len(await alice.ask("queue.list")) == len(what) - several

    await until(queued)
    process = await alice.run_node()
    await bob.start()
    rows = (await waiting).rows
    assert [row["state"] for row in rows] == ["queued"] * (len(rows) // 2) + ["delivered"] * (
        len(rows) // 2
    )
    assert len(rows) == (4 if several else 2)
    # The time that it waits is one, whoever it waits with.
    await bob.stop()
    began_s = time.monotonic()
    send = ("send-net", "--contact", "bob", "--wait", "--timeout", "8s", "again")
    waiting = asyncio.ensure_future(alice.cli(*send, code=75))
    await asyncio.sleep(3)
    process.kill()
    await process.wait()
    await waiting
    assert time.monotonic() - began_s < 16
    await alice.cli("node", "stop")


async def test_what_is_wrong_with_the_new_one_leaves_the_old_one_alone(
    friend: Callable[..., Friend],
) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    pid = (await alice.cli("node", "status")).row["pid"]
    await alice.cli("node", "run", "--listen", "nonsense", code=65)
    await alice.cli("node", "start", "--listen", "nonsense", code=65)
    with (alice.home / "config.toml").open("a") as config:
        config.write("\n[nonsense]\n")
    await alice.cli("node", "run", code=78)
    row = (await alice.cli("node", "status")).row
    assert (row["pid"], row["stays"]) == (pid, False)


@pytest.mark.parametrize("running", [True, False], ids=["by-a-command", "none-runs"])
async def test_of_several_at_once_one_has_it(friend: Callable[..., Friend], running: bool) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    if not running:
        await alice.cli("node", "stop")
    run = (sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "--json", "node", "run")
    processes = [
        await asyncio.create_subprocess_exec(
            *run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    where = f"/ip4/127.0.0.1/tcp/{free_port()}"
    start = await alice.cli("node", "start", "--listen", where, code=None)
    lines = await asyncio.gather(*(one.stdout.readline() for one in processes if one.stdout))
    won = [one for one, line in zip(processes, lines, strict=True) if line]
    lost = [one for one, line in zip(processes, lines, strict=True) if not line]
    assert len(won) + (start.code == 0) == 1, (lines, start)
    for one in lost:
        _, err = await one.communicate()
        assert one.returncode == 71, err
        assert json.loads(err.splitlines()[-1])["error"]["code"] == "already_running"
    row = (await alice.cli("node", "status")).row
    assert row["stays"] is True
    if won:
        assert start.code == 71
        assert row["pid"] == won[0].pid
        await ended(won[0])
    else:
        assert row["addresses"] == [where]


async def completed(person: Friend, line: str) -> bytes:
    """Return what the shell gets behind Tab, on stdout and stderr; it may not be kept waiting for it."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    home = {"PEERPOST_HOME": str(person.home)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli"),
        env=os.environ | words | home | {"_PEERPOST_COMPLETE": "bash_complete"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(5):
        out, _ = await process.communicate()
    return out


async def test_a_command_says_that_it_waits_for_a_node_that_is_stopped(
    friend: Callable[..., Friend],
) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    process = await alice.run_node()
    process.send_signal(signal.SIGSTOP)
    waiting = asyncio.ensure_future(alice.cli("contacts", "list"))
    try:
        assert await completed(alice, "peerpost contacts show ") == b"\n"
        await asyncio.sleep(5)
        assert not waiting.done()
    finally:
        process.send_signal(signal.SIGCONT)
    done = await waiting
    assert json.loads(done.err) == {"event": "waiting", "pid": process.pid}
    # One that answers is not said to be waited for, however long what was asked takes.
    await alice.cli("contacts", "add", "bob", "--id", "1" * 64, "--address", NOBODY)
    slow = await alice.cli(
        *("send-net", "--contact", "bob", "hi", "--wait", "--timeout", "7s"), code=75
    )
    assert '"event": "waiting"' not in slow.err
    # It does not answer, and so cannot be asked: it is told by a signal, and to go on by another.
    process.send_signal(signal.SIGSTOP)
    assert (await alice.cli("node", "stop")).row["pid"] == process.pid
    assert await process.wait() in (0, 143)
