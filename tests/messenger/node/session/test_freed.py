"""Connections that end leave nothing: all of them is freed with their last user, without the collector.

The collector comes seldom to a node (`gc.freeze`, a high threshold), and each connection has a third of a megabyte of
buffers. The long form is PEERPOST_FREED_ROUNDS=2000 with PEERPOST_DEADLINE_S=1500 and --timeout 0.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peerpost.client.rpc import Request
from peerpost.net.interface import ConnectionLostError, Transport
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.node.control.methods.send import send_net
from peerpost.store.tables import transfers
from peerpost.store.tables.limits import RateLimit
from tests.support.net_rig import FILE, LOOPBACK, PROTOCOLS, everybody, on_loop, running, seed
from tests.support.network_rig import Somebody, acquainted, until

SLICE_BYTES = 100_000
"""Of the file, what has to come in each session before it breaks."""
FAST = 4_000_000
"""Bytes a second: some 20 times as much comes in a session before it is seen."""
ROUNDS = int(os.environ.get("PEERPOST_FREED_ROUNDS", "40"))


def ours() -> collections.Counter[str]:
    """Count the live objects of our classes, and what carries them."""
    counter: collections.Counter[str] = collections.Counter()
    for thing in gc.get_objects():
        name = f"{type(thing).__module__}.{type(thing).__qualname__}"
        if name.startswith(("peerpost.", "noise.", "libp2p.", "asyncio.locks.")):
            counter[name] += 1
    return counter


def _grown(before: collections.Counter[str]) -> dict[str, int]:
    """Return the classes of which there is more than a handful more than before."""
    return {name: n for name, n in (ours() - before).items() if n > ROUNDS // 4}


@contextlib.asynccontextmanager
async def nothing_grows() -> AsyncIterator[None]:
    """Fail where more than a handful of any class stays; nothing is collected meanwhile.

    A session that begins or ends has more at one moment than at another: what is left by mistake stays, that goes.
    """
    gc.collect()
    gc.disable()
    try:
        before = ours()
        yield
        for _ in range(40):
            if not (grown := _grown(before)):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(grown)
    finally:
        gc.enable()


async def _broken(alice: Transport, bob: Transport, *, polite: bool) -> None:
    near, far = await asyncio.gather(alice.dial(bob.peer_id, bob.addresses), bob.accept())
    here, there = await asyncio.gather(near.open_stream(FILE), far.accept_stream())
    await here.write(bytes(100_000))
    await there.read(10)
    # One that nobody accepts, and one that nobody answers.
    await near.open_stream(FILE)
    if polite:
        await near.close()
    else:
        near.abort()
    await asyncio.gather(near.wait_closed(), far.wait_closed())
    with contextlib.suppress(ConnectionLostError):
        while await there.read():
            pass
    far.abort()


@pytest.mark.slow
@on_loop
async def test_connections_that_break_are_freed() -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    bob = LibP2PTransport(seed("bob"), [LOOPBACK], everybody, PROTOCOLS)
    async with running(alice, bob):
        for _ in range(3):
            await _broken(alice, bob, polite=False)
        async with nothing_grows():
            for at in range(ROUNDS):
                await _broken(alice, bob, polite=bool(at % 2))


async def _again(alice: Somebody, bob: Somebody, *, settled: bool) -> None:
    entry = await alice.queue("a text")
    if settled:
        await until(lambda: alice.delivered(entry))
    assert alice.peer.session is not None
    alice.peer.session.connection.abort()
    await until(lambda: not alice.peer.online and not bob.peer.online)
    await _back(alice, bob)


async def _back(alice: Somebody, bob: Somebody) -> None:
    """Have a session begin, without the longer and longer waits that short sessions bring."""

    def online() -> bool:
        if not alice.peer.online:
            alice.peer.retry_now()
        return alice.peer.online and bob.peer.online

    await until(online)


@on_loop
async def _sessions(folder: Path) -> None:
    async with acquainted(folder, "alice", "bob", make=LibP2PTransport) as (alice, bob):
        for _ in range(3):
            await _again(alice, bob, settled=True)
        async with nothing_grows():
            for at in range(ROUNDS):
                await _again(alice, bob, settled=bool(at % 2))


@pytest.mark.slow
def test_sessions_that_break_are_freed(tmp_path: Path) -> None:
    _sessions(tmp_path)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _send_file(alice: Somebody, path: Path) -> None:
    with path.open("rb") as file:
        # Read where it lies: a copy in the spool would be as long as the test.
        params = {"contact": "bob", "file": {"name": path.name, "path_hint": str(path)}}
        request = Request("send-net", params, [os.dup(file.fileno())])
        await send_net(alice.home, request)
        request.close()


async def _while_a_file_comes(alice: Somebody, bob: Somebody, row: transfers.Transfer) -> None:
    """Break the session once more of the file has come in it, and have another begin."""

    def came() -> int:
        download = bob.home.transfers.driven(row.contact_id, row.file_id, incoming=True)
        return 0 if download is None else download.progress_bytes

    before = came()
    await until(lambda: came() >= before + SLICE_BYTES, timeout_s=45)
    assert alice.peer.session is not None
    alice.peer.session.connection.abort()
    await until(lambda: not alice.peer.online and not bob.peer.online)
    bob.peer.retry_now()
    await _back(alice, bob)


@on_loop
async def _with_a_file(folder: Path) -> None:
    source = folder / "file"
    with source.open("wb") as file:
        file.truncate((10 + ROUNDS) * FAST)
    async with acquainted(folder, "alice", "bob", make=LibP2PTransport) as (alice, bob):
        bob.home.services.limits.change(RateLimit(down_bytes_s=FAST))
        await _send_file(alice, source)
        await until(lambda: bob.store.read(transfers.select, "incoming = 1 AND state = 'asking'"))
        (row,) = await bob.store.read(transfers.select, "incoming = 1")
        await bob.home.transfers.accept(row.id)
        for _ in range(3):
            await _while_a_file_comes(alice, bob, row)
        before = descriptors()
        async with nothing_grows():
            for _ in range(ROUNDS):
                await _while_a_file_comes(alice, bob, row)
        assert descriptors() <= before + 4
        assert (await bob.store.read(transfers.find, row.id)).state == "active"


@pytest.mark.slow
def test_sessions_that_break_while_a_file_comes_are_freed(tmp_path: Path) -> None:
    _with_a_file(tmp_path)
