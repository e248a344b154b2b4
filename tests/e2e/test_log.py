"""The log of a node that a command has started in the background, rotated while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Friend, until

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors of another process"),
]

LIMIT_BYTES = 64 << 10
KEPT = 2


def print_something(pid: int, mark: str) -> None:
    """Write to the stderr of the node, as a library does that knows no logging."""
    with Path(f"/proc/{pid}/fd/2").open("ab") as stderr:
        stderr.write(mark.encode() * (LIMIT_BYTES // len(mark) + 1))


def printed_to(pid: int) -> list[Path]:
    """Return what the node has as its stdout and its stderr."""
    return [Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in (1, 2)]


async def knock(port: int) -> None:
    """Have the node log something."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"no handshake at all" * 10)
        await writer.drain()
        writer.close()


async def test_a_node_in_the_background_rotates_its_log(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    config = alice.home / "config.toml"
    config.write_text(
        f'{config.read_text()}[log]\nlevel = "debug"\nsize = {LIMIT_BYTES}\nkept = {KEPT}\n'
    )
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    status = (await alice.cli("node", "start")).row
    pid, port = status["pid"], int(status["addresses"][0].rpartition("/")[2])
    log = alice.home / "node.log"
    for mark in ("first ", "second ", "third "):
        print_something(pid, mark)

        async def rotated(mark: str = mark) -> bool:
            await knock(port)
            older = log.with_name("node.log.1")
            return older.exists() and mark.encode() * 100 in older.read_bytes()

        await until(rotated)
        assert printed_to(pid) == [log, log]
    assert {found.name for found in alice.home.glob("node.log*")} == {
        "node.log",
        "node.log.1",
        "node.log.2",
    }
    assert b"second " in log.with_name("node.log.2").read_bytes()
    assert log.stat().st_size < LIMIT_BYTES
    assert log.stat().st_mode & 0o777 == 0o600
    assert (await alice.ask("node.status"))["failing"] == []


@pytest.mark.parametrize("kind", ["link", "pipe"])
async def test_what_cannot_be_a_log_keeps_no_node_from_starting(
    friend: Callable[..., Friend], kind: str
) -> None:
    alice = friend("alice")
    log = alice.home / "node.log"
    elsewhere = alice.home.parent / "elsewhere"
    if kind == "link":
        log.symlink_to(elsewhere)
    else:
        os.mkfifo(log)
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    assert (await alice.cli("contacts", "list")).rows == []
    assert not elsewhere.exists()
    await alice.cli("node", "stop")
    log.unlink()


async def test_with_json_every_line_on_stderr_is_an_object(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await alice.cli("node", "stop")
    process = await alice.run_node("--log-level", "debug")
    try:
        (listening,) = (await alice.ask("node.status"))["addresses"]
        await knock(int(listening.rpartition("/")[2]))
        # One that holds the home makes a second one say why it cannot be: an error is an object as well.
        taken = await alice.cli("node", "run", code=71)
        assert taken.error["code"] == "already_running"
    finally:
        process.terminate()
        assert await process.wait() == 143
    lines = (alice.home / "run.log").read_text().splitlines()
    assert lines
    for line in lines:
        assert {"ts", "level", "target", "msg"} <= set(json.loads(line)), line


async def test_what_nobody_foresaw_is_an_object_too() -> None:
    code = (
        "import threading, warnings\n"
        "from peerpost.node import logs\n"
        "logs.setup('warning', 'json')\n"
        "warnings.warn('look out')\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\n"
        "thread.start()\n"
        "thread.join()\n"
        "raise LookupError('gone')\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    lines = [json.loads(line) for line in err.splitlines()]
    assert process.returncode == 1
    assert ["look out" in str(line) for line in lines] == [True, False, False]
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert "LookupError" in lines[2]["exception"]
