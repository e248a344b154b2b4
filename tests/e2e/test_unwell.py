"""A home that is damaged, emptied or taken under its running node: mended where it can be, said and refused else."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peerpost.client import spawn
from peerpost.client.paths import HomePaths
from peerpost.errors import AlreadyRunningError
from peerpost.store.homelock import HomeLock
from peerpost.system.processes import ProcessMark, this_process
from tests.support.nodes import Friend, until

pytestmark = pytest.mark.asyncio

PAGE = 4096
TEXTS = 250


@pytest_asyncio.fixture
async def alice(friend: Callable[..., Friend]) -> AsyncIterator[Friend]:
    """Alice, with a running node."""
    one = friend("alice")
    await one.start()
    await one.create()
    yield one


async def unwell(one: Friend) -> dict[str, str]:
    found: dict[str, str] = (await one.ask("node.status"))["unwell"]
    return found


async def test_a_lock_that_was_deleted_is_made_anew(alice: Friend) -> None:
    lock = alice.home / "lock"
    lock.unlink()

    async def again() -> bool:
        return lock.exists() and lock.read_text().startswith(f"{await alice.node_pid()}\n")

    await until(again)
    with pytest.raises(AlreadyRunningError), HomeLock(alice.home):
        pass
    assert await unwell(alice) == {}


async def test_a_node_whose_home_was_taken_ends_and_says_so(alice: Friend) -> None:
    process = alice._process
    assert process is not None
    (alice.home / "lock").unlink()
    with HomeLock(alice.home):
        async with asyncio.timeout(30):
            assert await process.wait() == AlreadyRunningError.exit_code
    assert "runs on this home already" in alice.log_text()


async def test_the_space_in_reserve_is_set_aside_again(alice: Friend) -> None:
    ballast = alice.home / "ballast"
    size = ballast.stat().st_size
    assert size
    ballast.unlink()

    async def again() -> bool:
        return ballast.exists() and ballast.stat().st_size == size

    await until(again)
    assert await unwell(alice) == {}


@pytest.mark.parametrize("name", ["store.db-wal", "store.db-shm"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_what_goes_into_a_log_that_is_gone_is_refused(
    alice: Friend, name: str, how: str
) -> None:
    path = alice.home / name
    assert path.exists()
    data = path.read_bytes()
    path.unlink()
    if how == "replaced":
        path.write_bytes(data)
    # At once: not only when the node has looked at its home.
    done = await alice.cli("contacts", "invite", "carol", code=74)
    assert f"{name} was {how}" in done.error["message"]

    async def said() -> bool:
        return name in await unwell(alice)

    await until(said)
    rows = (await alice.cli("doctor", code=1)).rows
    assert [row["found"] for row in rows if row["check"] == f"home {name}"] == [f"{name} was {how}"]


def spoil(path: Path) -> None:
    """Change a byte of each page but the first few, in place."""
    with path.open("r+b") as file:
        for at in range(8 * PAGE, path.stat().st_size, 1000):
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))


async def test_damaged_pages_are_said_and_nothing_is_kept_beside_them(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await bob.stop()
    # More than the node has in memory.
    for number in range(TEXTS):
        await alice.ask("send-net", {"contact": "bob", "text": f"{number} " + "x" * 60_000})
    for name in ("store.db", "store.db-wal"):
        spoil(alice.home / name)
    await bob.start()  # What waits for him is read now.

    async def said() -> bool:
        return "damaged" in (await unwell(alice)).get("store.db", "")

    await until(said)
    done = await alice.cli("contacts", "invite", "carol", code=74)
    assert done.error["code"] == "damaged"
    assert "backup" in done.error["hint"]
    rows = (await alice.cli("doctor", code=1)).rows
    assert any(row["check"] == "home store.db" and "damaged" in row["found"] for row in rows)


def block_socket(home: Path) -> None:
    """Put something in the place of the control socket that the node cannot replace."""
    (home / "control.sock").unlink()
    (home / "control.sock" / "full").mkdir(parents=True)


async def test_without_its_socket_a_node_is_named_and_can_be_stopped(alice: Friend) -> None:
    pid = await alice.node_pid()
    process = alice._process
    assert process is not None
    block_socket(alice.home)
    done = await alice.cli("node", "status", code=69)
    assert f"process {pid}" in done.error["message"]
    assert "node stop" in done.error["hint"]

    def start() -> None:
        spawn.start(HomePaths(alice.home), dial=lambda: None, timeout_s=2.0).close()

    with pytest.raises(AlreadyRunningError, match=f"process {pid}"):
        await asyncio.to_thread(start)
    assert (await alice.cli("node", "stop")).row == {"state": "stopped", "pid": pid}
    assert await process.wait() == 128 + signal.SIGTERM
    assert (await alice.cli("node", "status", code=69)).error[
        "message"
    ] == "the node is not running"


@contextlib.contextmanager
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that nobody has a reason to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def marked(process: subprocess.Popen[bytes], **other: str) -> ProcessMark:
    """Return what a node would have written whose process had this number, but for what is `other`."""
    ours = this_process()
    parts: dict[str, Any] = {"started": "1", "boot": ours.boot, "namespace": ours.namespace}
    return ProcessMark(pid=process.pid, **(parts | other))


@pytest.mark.parametrize(
    ("other", "runs"),
    [
        ({"namespace": "pid:[1]"}, True),
        ({"boot": "another"}, True),
        ({}, False),
        ({"started": ""}, False),
    ],
    ids=["in a container", "on another machine", "a number used again", "by an older version"],
)
async def test_a_number_that_means_another_process_is_neither_named_nor_signalled(
    friend: Callable[..., Friend], other: dict[str, str], runs: bool
) -> None:
    one = friend("alice")
    (one.home / "keyfile").write_bytes(b"there is one")
    with bystander() as process, (one.home / "lock").open("w+") as lock:
        lock.write(marked(process, **other).text())
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in ("status", "stop"):
            done = await one.cli("node", command, code=None)
            assert str(process.pid) not in done.err + done.out.decode()
            assert ("another container" in done.err) == runs
            assert done.code == (69 if runs or command == "status" else 0)
        assert process.poll() is None


CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def can_contain() -> bool:
    try:
        return not subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


async def test_the_node_of_a_container_is_stopped_by_its_socket_and_not_by_its_number(
    alice: Friend,
) -> None:
    if not await asyncio.to_thread(can_contain):
        pytest.skip("this user may make no namespace of processes")
    await alice.stop()
    command = (sys.executable, "-m", "peerpost.node", "run", "--home", str(alice.home), "--json")
    await alice.launch(*CONTAINER, *command)
    process = alice._process
    assert process is not None
    assert (await alice.cli("node", "status")).row["pid"] is None
    block_socket(alice.home)
    done = await alice.cli("node", "stop", code=69)
    assert "another container" in done.error["message"]
    assert process.returncode is None
    (alice.home / "control.sock" / "full").rmdir()
    (alice.home / "control.sock").rmdir()

    async def answers() -> bool:
        return await alice.node_pid() is not None

    await until(answers)
    assert (await alice.cli("node", "stop")).row == {"state": "stopped", "pid": None}
    async with asyncio.timeout(30):
        await process.wait()
