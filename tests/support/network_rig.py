"""People whose networks meet in memory, in one process: all of a node but its control socket.

On a loop on virtual time (`virtual_time`) their nodes are on it too.

async with acquainted(folder, "alice", "bob") as (alice, bob):     # contacts of each other, and online
    alice.peer.retry_now()
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from peerpost.client.config import Config
from peerpost.client.rpc import Request
from peerpost.net.interface import Transport
from peerpost.node import me as my_own
from peerpost.node.clock import SYSTEM
from peerpost.node.contact.network import Network
from peerpost.node.contact.peer import Peer
from peerpost.node.duties import Duties
from peerpost.node.events import Events
from peerpost.node.files.transfers import Transfers
from peerpost.node.listening import PROTOCOLS
from peerpost.node.opened import Opened
from peerpost.node.services import Services
from peerpost.node.session.rates import RateLimits
from peerpost.node.settings import Settings
from peerpost.store.db.engine import Store
from peerpost.store.tables import contacts, identity, outbox
from peerpost.wire import inner as wire
from tests.support.memory_net import MemoryNetwork
from tests.support.virtual_time import VirtualLoop, WatchedStore, WatchedThreads

__all__ = ["WAIT_S", "Somebody", "acquainted", "strangers", "until"]

WAIT_S = 20.0


class Somebody:
    """One side, with an open home and one contact."""

    def __init__(self, opened: Opened, transport: Transport) -> None:
        self.home = opened
        self.transport = transport

    @property
    def store(self) -> Store:
        """The store of the home."""
        return self.home.store

    @property
    def peer(self) -> Peer:
        """The only contact."""
        (peer,) = self.home.network.peers.values()
        return peer

    async def queue(self, text: str) -> outbox.Entry:
        """Queue a text for the contact and let it go."""
        entry = await self.store.write(
            outbox.enqueue,
            contact_id=self.peer.contact.id,
            lane=0,
            message_kind=wire.Kind.TEXT,
            body=text.encode(),
            size=len(text),
            now_ms=self.home.clock.now_ms(),
        )
        self.home.network.queued(entry)
        return entry

    async def state(self, entry: outbox.Entry) -> str:
        """Return what has become of an entry."""
        return (await self.store.read(outbox.find, entry.id)).state

    async def delivered(self, entry: outbox.Entry) -> bool:
        """Return whether an entry has arrived and been acknowledged."""
        return await self.state(entry) == "delivered"

    async def received(self) -> list[Any]:
        """Return the ids of what is in the inbox."""
        return await self.store.read(lambda db: db.execute("SELECT id FROM inbox").fetchall())

    def request(self, method: str, **params: Any) -> Request:
        """Return a request as the control socket makes it."""
        return Request(method, params)


@contextlib.asynccontextmanager
async def _somebody(
    folder: Path, name: str, make: Callable[..., Transport]
) -> AsyncIterator[Somebody]:
    home = folder / name
    home.mkdir()
    loop = asyncio.get_running_loop()
    clock = loop.clock if isinstance(loop, VirtualLoop) else SYSTEM
    store = await WatchedStore.open(home / "store.db", bytes(32), loop=loop, ballast_bytes=0)
    threads = WatchedThreads(1)
    try:
        await store.write(identity.create, name, 4001, clock.now_ms())
        services = Services(
            home=home,
            store=store,
            settings=Settings(Config()),
            events=Events(store),
            threads=threads,
            limits=RateLimits(clock),
            duties=Duties(clock=clock),
            clock=clock,
        )
        me, transfers = await my_own.load(store, clock), Transfers(services)
        network = Network(services, me, transfers)
        opened = Opened(services=services, me=me, network=network, transfers=transfers)
        transport = make(me.transport.seed, ["/ip4/127.0.0.1/tcp/0"], network.gate, PROTOCOLS)
        await transport.start()
        try:
            yield Somebody(opened, transport)
        finally:
            await network.stop()
            await transport.stop()
            await transfers.stop()
    finally:
        threads.shutdown()
        await store.close()


async def _add(somebody: Somebody, other: Somebody, addresses: Sequence[str]) -> None:
    await somebody.store.write(
        contacts.add,
        name=other.home.me.name,
        id_public=other.home.me.id_public,
        state="active",
        transport_public=other.home.me.transport.public,
        addresses=tuple(addresses),
        now_ms=somebody.home.clock.now_ms(),
    )
    await somebody.home.network.load()


@contextlib.asynccontextmanager
async def acquainted(
    folder: Path,
    first: str,
    second: str,
    *,
    latency_s: float = 0.0,
    at_once: bool = False,
    make: Callable[..., Transport] | None = None,
) -> AsyncIterator[tuple[Somebody, Somebody]]:
    """Make two contacts of each other, either of whom can dial the other.

    The first dials, and the second learns its addresses; both dial where it shall be `at_once`, and then the session
    that they are online with may still give way to another. `make` makes transports of another kind than in memory.
    """
    make = make or MemoryNetwork(latency_s=latency_s).transport
    async with _somebody(folder, first, make) as one, _somebody(folder, second, make) as two:
        await _add(one, two, two.transport.addresses)
        await _add(two, one, one.transport.addresses if at_once else ())
        for somebody in (one, two):
            somebody.home.network.start(somebody.transport)
        await until(lambda: one.peer.online and two.peer.online)
        yield one, two


@contextlib.asynccontextmanager
async def strangers(folder: Path, *names: str) -> AsyncIterator[list[Somebody]]:
    """Make people who listen and know nobody yet, with their addresses in their key statements."""
    net = MemoryNetwork().transport
    async with contextlib.AsyncExitStack() as stack:
        people = [await stack.enter_async_context(_somebody(folder, name, net)) for name in names]
        for somebody in people:
            await somebody.home.me.announce(somebody.store, somebody.transport.addresses)
            somebody.home.network.start(somebody.transport)
        yield people


async def until(condition: Any, *, timeout_s: float = WAIT_S, every_s: float = 0.01) -> None:
    """Wait until a condition holds, one that may have to be awaited."""
    async with asyncio.timeout(timeout_s):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(every_s)
