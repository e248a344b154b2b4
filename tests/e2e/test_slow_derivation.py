"""A keyfile that asks for a long derivation holds up no node that is to end, and is as it was afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from peerpost.client.holder import holder_of
from peerpost.store import keyfile, keyfile_form
from tests.support.nodes import until
from tests.support.protected import PASSPHRASE, Protected, bytes_of

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

MOST_S = 2.0
"""How long a node may take to end. Other tests run beside this one, so a margin is added below."""
MARGIN_S = 3.0
DERIVING_BYTES = 400 << 20
COST = {"memory_kib": 1 << 20, "passes": 16, "lanes": 1}
"""A gigabyte, sixteen times over: half a minute on a machine that does something else too."""


def make_slow(home: Path) -> bytes:
    """Give the keyfile of a home a cost that nobody would choose; nothing opens it then. Return its bytes."""
    path = home / "keyfile"
    content = keyfile_form.read(path)
    slots = [{**slot, **COST} for slot in content["slots"]]
    keyfile._write(path, {**content, "slots": slots})
    return path.read_bytes()


async def derives(one: Protected) -> None:
    """Wait until the node has the memory of a derivation."""
    pid = (await one.process()).pid

    async def so() -> bool:
        return memory_bytes(pid) > DERIVING_BYTES

    await until(so)


def memory_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


UNLOCK = ("identity.unlock", {"passphrase": PASSPHRASE})
CHECK = ("identity.passphrase.check", {"passphrase": PASSPHRASE})
CHANGE = ("identity.passphrase.change", {"passphrase": PASSPHRASE, "new": f"{PASSPHRASE} other"})
REMOVE = ("identity.passphrase.remove", {"passphrase": PASSPHRASE})


@pytest.mark.parametrize("asked", [UNLOCK, CHECK, CHANGE, REMOVE], ids=lambda one: one[0])
@pytest.mark.parametrize("way", ["stop", "SIGTERM"])
async def test_a_node_that_is_told_to_stop_does_not_wait_for_it(
    folder: Path, asked: tuple[str, dict[str, Any]], way: str
) -> None:
    alice = Protected("alice", folder)
    try:
        await alice.start()
        await alice.create()
        await alice.stop()
        slow = make_slow(alice.home)
        await alice.start()
        before = {name: found for name, found in bytes_of(alice.home).items() if "log" not in name}
        pid = (await alice.process()).pid
        asking = asyncio.create_task(alice.ask(*asked))
        await derives(alice)
        began_s = time.monotonic()
        if way == "stop":
            await alice.cli("node", "stop")
        else:
            os.kill(pid, signal.SIGTERM)
        await gone(pid)
        assert time.monotonic() - began_s < MOST_S + MARGIN_S
        (told,) = await asyncio.gather(asking, return_exceptions=True)
        assert "nothing was changed" in str(told)
        assert (alice.home / "keyfile").read_bytes() == slow
        after = bytes_of(alice.home)
        assert {name: after.get(name) for name in before if name != "lock"} == {
            name: found for name, found in before.items() if name != "lock"
        }
    finally:
        await alice.close()


async def test_a_start_that_derives_ends_at_a_signal(folder: Path) -> None:
    alice = Protected("alice", folder)
    try:
        await alice.start()
        await alice.create()
        await alice.stop()
        slow = make_slow(alice.home)
        file = folder / "passphrase"
        file.write_text(f"{PASSPHRASE}\n", encoding="utf-8")
        file.chmod(0o600)
        starting = asyncio.create_task(alice.run_node("--passphrase-file", str(file)))

        async def begins() -> bool:
            found = holder_of(alice.home)
            return found is not None and memory_bytes(found.mark.pid) > DERIVING_BYTES

        await until(begins)
        holder = holder_of(alice.home)
        assert holder is not None
        pid = holder.mark.pid
        began_s = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        await gone(pid)
        assert time.monotonic() - began_s < MOST_S + MARGIN_S
        assert (alice.home / "keyfile").read_bytes() == slow
        await asyncio.gather(starting, return_exceptions=True)
    finally:
        await alice.close()


async def gone(pid: int) -> None:
    async def so() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await until(so, timeout_s=40)
