"""Connections that end leave nothing: all of them is freed with their last user, without the collector.

The collector comes seldom to a node (`gc.freeze`, a high threshold), and each connection has a third of a megabyte of
buffers. The long form is PEERPOST_FREED_ROUNDS=2000, with --timeout 0.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

from peerpost.net.interface import ConnectionLostError, Transport
from peerpost.net.libp2p import LibP2PTransport
from tests.support.net_rig import FILE, LOOPBACK, PROTOCOLS, everybody, on_loop, running, seed
from tests.support.network_rig import Somebody, acquainted, until

ROUNDS = int(os.environ.get("PEERPOST_FREED_ROUNDS", "40"))


def ours() -> collections.Counter[str]:
    """Count the live objects of our classes, and what carries them."""
    counter: collections.Counter[str] = collections.Counter()
    for thing in gc.get_objects():
        name = f"{type(thing).__module__}.{type(thing).__qualname__}"
        if name.startswith(("peerpost.", "noise.", "libp2p.", "asyncio.locks.")):
            counter[name] += 1
    return counter


@contextlib.contextmanager
def nothing_grows() -> Iterator[None]:
    """Fail where more than a handful of any class is left; nothing is collected meanwhile."""
    gc.collect()
    gc.disable()
    try:
        before = ours()
        yield
        grown = {name: n for name, n in (ours() - before).items() if n > ROUNDS // 4}
        assert not grown, grown
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


@on_loop
async def test_connections_that_break_are_freed() -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    bob = LibP2PTransport(seed("bob"), [LOOPBACK], everybody, PROTOCOLS)
    async with running(alice, bob):
        for _ in range(3):
            await _broken(alice, bob, polite=False)
        with nothing_grows():
            for at in range(ROUNDS):
                await _broken(alice, bob, polite=bool(at % 2))
            await asyncio.sleep(0.05)


async def _again(alice: Somebody, bob: Somebody, *, settled: bool) -> None:
    entry = await alice.queue("a text")
    if settled:
        await until(lambda: alice.delivered(entry))
    assert alice.peer.session is not None
    alice.peer.session.connection.abort()
    await until(lambda: not alice.peer.online and not bob.peer.online)
    alice.peer.retry_now()
    await until(lambda: alice.peer.online and bob.peer.online)


@on_loop
async def _sessions(folder: Path) -> None:
    async with acquainted(folder, "alice", "bob", make=LibP2PTransport) as (alice, bob):
        for _ in range(3):
            await _again(alice, bob, settled=True)
        with nothing_grows():
            for at in range(ROUNDS):
                await _again(alice, bob, settled=bool(at % 2))
            await asyncio.sleep(0.05)


def test_sessions_that_break_are_freed(tmp_path: Path) -> None:
    _sessions(tmp_path)
