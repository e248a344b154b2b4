"""A backup that does not come to its end leaves nothing in the home, and says why."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import Friend, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

PASSPHRASE = "umber lattice quiver saddle topaz morning"


@pytest.fixture
def secret(folder: Path) -> str:
    path = folder / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return str(path)


async def made(friend: MakeFriend) -> Friend:
    """Somebody whose node runs."""
    alice = friend("alice")
    await alice.start()
    await alice.create()
    return alice


def left(folder: Path) -> list[str]:
    """Return what an unfinished backup might leave, in a home or beside a target."""
    return [
        path.name
        for path in folder.iterdir()
        if any(part in path.name for part in ("new", "part", "out"))
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("copies", [False, True])
async def test_a_limit_on_files_is_named_with_what_to_do(
    friend: MakeFriend, folder: Path, secret: str, *, copies: bool
) -> None:
    """At first not even the copy of the store can be made, then the backup, which is a little longer, is too long."""
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await alice.cli("node", "stop", code=None)
    blocks = (alice.home / "store.db").stat().st_size >> 10 if copies else 100
    wrap = ("bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash")
    out = folder / "out"
    refused = await alice.cli(
        "backup", "create", str(out), "--passphrase-file", secret, code=74, wrap=wrap
    )
    assert refused.error["code"] == "disk_full"
    assert "not an error" not in refused.error["message"]
    assert "ulimit -f" in refused.error["hint"]
    assert left(alice.home) == []
    assert left(folder) == []
    await alice.cli("node", "stop")
    await alice.cli("backup", "create", str(out), "--passphrase-file", secret)


@pytest.mark.parametrize("after_s", [0.0, 0.3, 2.0])
async def test_a_node_that_stops_leaves_nothing_of_it(
    friend: MakeFriend, folder: Path, secret: str, after_s: float
) -> None:
    alice = await made(friend)
    reads, writes = os.pipe()
    making = asyncio.create_task(
        alice.ask("backup.create", {"passphrase": PASSPHRASE}, fds=(writes,))
    )
    await asyncio.sleep(after_s)
    await alice.cli("node", "stop", code=None)
    assert isinstance((await asyncio.gather(making, return_exceptions=True))[0], Exception)
    assert left(alice.home) == []
    os.close(reads)
    os.close(writes)


async def test_what_a_kill_leaves_goes_at_the_next_start(friend: MakeFriend) -> None:
    alice = await made(friend)
    reads, writes = os.pipe()
    making = asyncio.create_task(
        alice.ask("backup.create", {"passphrase": PASSPHRASE}, fds=(writes,))
    )

    async def copies() -> bool:
        return (alice.home / "backup.new" / "store.db").exists()

    await until(copies)
    pid = await alice.node_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert isinstance((await asyncio.gather(making, return_exceptions=True))[0], Exception)
    assert left(alice.home) == ["backup.new"]
    os.close(reads)
    os.close(writes)
    await alice.cli("identity", "show")
    assert left(alice.home) == []
