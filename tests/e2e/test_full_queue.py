"""A node that is stopped (SIGSTOP) and has as many connections waiting as its socket takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import WAIT_S, Friend

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once"),
]


@contextlib.contextmanager
def crowd(who: Friend) -> Iterator[int]:
    """Connect to a node until nobody else can; give how many there are."""
    with contextlib.ExitStack() as stack:
        for count in range(10_000):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            try:
                one.connect(str(who.home / "control.sock"))
            except BlockingIOError:
                yield count
                return
        raise AssertionError("the queue is never full")


@contextlib.asynccontextmanager
async def stopped(who: Friend) -> AsyncIterator[int]:
    pid = await who.node_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_a_command_says_whom_it_waits_for_and_goes_on(friend: MakeFriend) -> None:
    alice = friend("alice")
    await alice.start()
    await alice.create()
    async with stopped(alice) as pid:
        with crowd(alice) as count:
            assert count > 100
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "--json"),
                *("identity", "show"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stderr is not None
            async with asyncio.timeout(WAIT_S):
                line = await process.stderr.readline()
            assert json.loads(line) == {"event": "waiting", "pid": pid}
            assert process.returncode is None
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate()
    assert (process.returncode, json.loads(out)["name"], err) == (0, "alice", b"")


async def test_it_can_be_stopped(friend: MakeFriend) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    async with stopped(alice) as pid:
        with crowd(alice):
            began_s = time.monotonic()
            done = await alice.cli("node", "stop")
    assert done.row == {"state": "stopped", "pid": pid}
    assert time.monotonic() - began_s < WAIT_S
