"""The memory of a node: no core is made of it, though one is asked for, and no other process may look into it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nodes import Friend

pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(sys.platform != "linux", reason="/proc")]
UNLIMITED = ("sh", "-c", 'ulimit -c unlimited; cd "$1"; shift; exec "$@"', "sh")


def aborted(command: list[str], folder: Path) -> bool:
    """Start a program that may leave a core, abort it once it has said something; return whether it left one."""
    with subprocess.Popen([*UNLIMITED, str(folder), *command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        os.kill(process.pid, signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGABRT
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


def of(pid: int | None, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii").splitlines()


async def test_no_core_is_made_of_a_node(folder: Path) -> None:
    alice, place = Friend("alice", folder), folder / "place"
    place.mkdir()
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await alice.cli("node", "stop")
    other = [sys.executable, "-c", "print('ready', flush=True); import time; time.sleep(60)"]
    if not aborted(other, place):
        pytest.skip("no core is made of anything here")
    left = {path.name for path in place.iterdir()}
    node = [sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "--json", "node"]
    assert not aborted([*node, "run"], place)
    assert {path.name for path in place.iterdir()} == left


async def test_the_memory_of_a_node_is_root_s_to_look_into(folder: Path) -> None:
    alice = Friend("alice", folder)
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    pid = await alice.node_pid()
    (core,) = [line.split()[4:6] for line in of(pid, "limits") if "core file" in line]
    assert core == ["0", "0"]
    # What is not dumpable belongs to root under /proc. Where the node is root's anyway, this shows nothing.
    assert os.stat(f"/proc/{pid}/environ").st_uid == 0  # noqa: PTH116
