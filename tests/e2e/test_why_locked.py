"""Why a node stopped, or locked its home: an administrator finds it, in a log that names nobody."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.nodes import until
from tests.support.protected import PASSPHRASE, Protected

pytestmark = pytest.mark.asyncio


async def test_the_status_says_why_and_what_to_do(folder: Path) -> None:
    alice = Protected("alice", folder)
    told = ("identity", "new", "--name", "alice", "--passphrase-stdin")
    await alice.cli(*told, stdin=PASSPHRASE.encode())

    async def locked() -> bool:
        return bool((await alice.ask("node.status"))["state"] == "locked")

    async def unlock() -> None:
        await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=PASSPHRASE.encode())
        assert "locked" not in str((await alice.cli("node", "status")).row["error"])

    await alice.cli("identity", "lock")
    error = (await alice.cli("node", "status")).row["error"]
    assert error == "locked (asked to); to unlock it: peerpost identity unlock"
    await alice.cli("identity", "lock")
    await unlock()
    (await alice.process()).send_signal(signal.SIGUSR1)
    await until(locked)
    assert "(SIGUSR1)" in (await alice.cli("node", "status")).row["error"]
    await alice.cli("node", "stop")
    await alice.cli("node", "start")
    error = (await alice.cli("node", "status")).row["error"]
    assert "no passphrase was given when the node started" in error
    config = alice.home / "config.toml"
    text = config.read_text(encoding="utf-8")
    text = text.replace("[security]\n", '[security]\nlock_after = "1s"\n')
    config.write_text(text, encoding="utf-8")
    await alice.cli("node", "stop")
    await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=PASSPHRASE.encode())
    await until(locked)
    assert "(nothing was asked for during lock_after)" in (await alice.ask("node.status"))["error"]
    await alice.cli("node", "stop")
    log = (alice.home / "node.log").read_text(encoding="utf-8")
    for line in ("locking: asked to", "locking: SIGUSR1", "stopping: asked to"):
        assert line in log, log
    assert "locking: ..." not in log
