"""A loop that stands still: it is logged with the place, shown, and a signal ends the node all the same."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from peerpost.client.connection import dial
from peerpost.errors import PeerpostError
from tests.support.nodes import Friend, until

pytestmark = pytest.mark.asyncio

NODE = """
import asyncio, sys, time
from peerpost.node import daemon, watchdog
from peerpost.node.control import methods

watchdog.STALLED_S = 1.5
watchdog.STOP_S = 1.0

async def spin(host, request):
    spinning_here(request.params["seconds"])

def spinning_here(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

async def never_leaves(host, request):
    # As Tasks.join once did: a `while` with an await that gives no other task a turn.
    async def nothing():
        pass
    while True:
        await nothing()

async def gives_turns(host, request):
    while True:
        await asyncio.sleep(0)

methods.HOST_METHODS.update({"test.spin": spin, "test.never": never_leaves, "test.turns": gives_turns})
sys.exit(daemon.main(sys.argv[1:]))
"""


class Spinner(Friend):
    """Somebody whose node can be made to spin."""

    async def run(self) -> asyncio.subprocess.Process:
        script = self.home.parent / "node.py"
        script.write_text(NODE)
        with (self.home / "run.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(script), "run", "--home", str(self.home), "--json"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["event"] == "ready"
        return process

    def begin(self, method: str, **params: float) -> None:
        """Have the node begin something that gives no answer."""
        node = dial(self.home)
        assert node is not None
        node.give_up_after(0.3)
        with pytest.raises(PeerpostError, match="does not answer"), node:
            node.call(method, params)

    async def logged(self, text: str) -> None:
        async def there() -> bool:
            return text in self.log_text()

        await until(there)


@pytest.fixture
def alice(folder: Path) -> Spinner:
    return Spinner("alice", folder)


async def test_it_is_logged_once_each_time_and_shown(
    alice: Spinner, friend: Callable[..., Friend]
) -> None:
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await alice.cli("node", "stop")
    process = await alice.run()
    assert (await alice.cli("node", "status")).row["stalls"] is None
    for times in (1, 2):
        alice.begin("test.spin", seconds=4.0)
        await alice.logged("the loop turns again, after")
        # It answers at once, and then again.
        stalls = (await alice.cli("node", "status")).row["stalls"]
        assert stalls["times"] == times
        assert 1.5 <= stalls["longest_s"] < 20
    lines = [line for line in alice.log_text().splitlines() if "has not turned" in line]
    assert len(lines) == 2, lines
    assert "spinning_here (" in lines[0]
    assert "node.py:" in lines[0]
    doctor = await alice.cli("doctor", code=1)
    (bad,) = [row for row in doctor.rows if not row["ok"]]
    assert (bad["check"], bad["found"][:21]) == ("loop turns", "stood still 2 times, ")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("method", ["test.never", "test.turns"])
async def test_a_signal_ends_it(alice: Spinner, method: str, number: int) -> None:
    process = await alice.run()
    node = dial(alice.home)
    assert node is not None
    with node:
        node.begin(method)
        await asyncio.sleep(0.5)
        began_s = time.monotonic()
        process.send_signal(number)
        async with asyncio.timeout(20):
            assert await process.wait() == 128 + number
    assert time.monotonic() - began_s < 15
    if method == "test.never":
        name = signal.Signals(number).name
        assert f"ended by {name} while the loop stood still: never_leaves" in alice.log_text()


async def test_a_process_that_was_stopped_did_not_spin(alice: Spinner) -> None:
    process = await alice.run()
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(4)
    process.send_signal(signal.SIGCONT)
    await asyncio.sleep(2)
    assert (await alice.cli("node", "status")).row["stalls"] is None
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 143
