"""The transport in memory: a network of them in one process, with latency, breaks and partitions at will.

Nothing is encrypted and nobody is authenticated beyond the name: it is for tests and simulations. What streams
promise is kept by the same `MuxedStream` that the real transport uses; here is only what carries the bytes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import base58
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from peerpost.errors import PeerpostError, UnavailableError
from peerpost.net.antechamber import Antechamber
from peerpost.net.interface import Admission, ConnectionLostError, DialError, Gate, Priority
from peerpost.net.unreached import no_answer, nobody_listens, place_of
from peerpost.wire.address import Address, parse
from tests.support.memory_link import DEAD_AFTER_S, Conditions, MemoryConnection

__all__ = ["MemoryNetwork", "MemoryTransport"]

PEER_ID_PREFIX = bytes.fromhex("002408011220")
"""An identity multihash of the protobuf of an Ed25519 key."""


class _UnreachedError(DialError):
    """One address did not lead to the peer."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(why)
        self.address = address


class MemoryNetwork(Conditions):
    """The transports that can find each other, under `Conditions`."""

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        loss: float = 0.0,
        draw: Callable[[], float] = lambda: 1.0,
        dead_after_s: float = DEAD_AFTER_S,
    ) -> None:
        super().__init__(latency_s=latency_s, loss=loss, draw=draw, dead_after_s=dead_after_s)
        self.listeners: dict[str, MemoryTransport] = {}
        self._ports = itertools.count(1024)

    def transport(
        self, seed: bytes, listen: Sequence[str], gate: Gate, protocols: Mapping[str, Priority]
    ) -> MemoryTransport:
        """Return a new transport on this network; the arguments are those of every transport."""
        return MemoryTransport(self, seed, listen, gate, protocols)

    def listen(self, address: str, transport: MemoryTransport) -> str:
        """Bind an address and return it, its port filled in. Raises UnavailableError."""
        if parse(address, listen=True).port == 0:
            address = self.new_address()
        if address in self.listeners:
            raise UnavailableError(f"cannot listen on {address}: address already in use")
        self.listeners[address] = transport
        return address

    def new_address(self) -> str:
        """Return an address that nobody had yet."""
        return Address(protocol="ip4", host="127.0.0.1", port=next(self._ports)).text


_Found = tuple[str, "MemoryTransport"]


class MemoryTransport:
    """One peer id on a MemoryNetwork (`interface.Transport`)."""

    def __init__(
        self,
        network: MemoryNetwork,
        seed: bytes,
        listen: Sequence[str],
        gate: Gate,
        protocols: Mapping[str, Priority],
    ) -> None:
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        self.peer_id = base58.b58encode(PEER_ID_PREFIX + public).decode()
        self.network = network
        self._listen = list(listen)
        self._gate = gate
        self._protocols = protocols
        self._bound: list[str] = []
        self._life: asyncio.Future[None] | None = None
        self._stopped = False
        self._incoming: asyncio.Queue[MemoryConnection | None] = asyncio.Queue()
        self._connections: set[MemoryConnection] = set()
        self._strangers = Antechamber()

    @property
    def addresses(self) -> Sequence[str]:
        """Multiaddrs really bound."""
        return tuple(self._bound)

    async def start(self) -> None:
        """Listen (`interface.Transport`)."""
        try:
            for address in self._listen:
                self._bound.append(self.network.listen(address, self))
        except PeerpostError:
            self._unlisten()
            raise
        self._life = asyncio.get_running_loop().create_future()
        if self._stopped:
            self._stopped, self._incoming = False, asyncio.Queue()

    async def stop(self) -> None:
        """Close everything (`interface.Transport`)."""
        life, self._life = self._life, None
        if life is None:
            return
        self._stopped = True
        self._unlisten()
        life.set_result(None)
        while not self._incoming.empty():
            self._incoming.get_nowait()
        self._incoming.put_nowait(None)
        await asyncio.gather(*(connection.close() for connection in list(self._connections)))
        self._connections.clear()

    def _unlisten(self) -> None:
        for address in self._bound:
            del self.network.listeners[address]
        self._bound.clear()

    async def accept(self) -> MemoryConnection:
        """Wait for the next inbound connection (`interface.Transport`)."""
        connection = await self._incoming.get()
        if connection is None:
            self._incoming.put_nowait(None)
            raise ConnectionLostError("the transport has stopped")
        return connection

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10.0
    ) -> MemoryConnection:
        """Connect over the first address that works (`interface.Transport`)."""
        life = self._life
        if life is None:
            raise DialError("the transport is not running")
        told = {address: no_answer(address, timeout_s) for address in addresses}
        race = asyncio.get_running_loop().create_task(self._race(peer_id, told), name="dial")
        ends: list[asyncio.Future[Any]] = [race, life]
        try:
            await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            race.cancel()
        if life.done():
            raise DialError("the transport has stopped")
        found = race.result() if race.done() else None
        if found is not None:
            return self._connect(*found)
        raise DialError("; ".join(told.values()) or "no address is known")

    async def _race(self, peer_id: str, told: dict[str, str]) -> _Found | None:
        """Return the first address that leads to the peer; note for each other one why it does not."""
        loop = asyncio.get_running_loop()
        attempts = [loop.create_task(self._reach(peer_id, address)) for address in told]
        found = None
        try:
            for attempt in asyncio.as_completed(attempts):
                try:
                    found = await attempt
                    break
                except _UnreachedError as error:
                    told[error.address] = error.message
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        return found

    async def _reach(self, peer_id: str, address: str) -> _Found:
        """Do what a handshake does."""
        try:
            parse(address)
        except PeerpostError as error:
            raise _UnreachedError(address, error.message) from error
        for _ in range(2):  # There and back.
            found = self.network.listeners.get(address)
            if found is not None:
                await self.network.wait_connected(self.peer_id, found.peer_id)
            await asyncio.sleep(self.network.latency_s)
        found = self.network.listeners.get(address)
        if found is None:
            raise _UnreachedError(address, nobody_listens(address))
        if found.peer_id != peer_id:
            raise _UnreachedError(address, f"another peer answers at {place_of(address)}")
        if found.judge(self.peer_id) is Admission.REFUSED:
            why = f"the connection ended within the handshake at {place_of(address)}"
            raise _UnreachedError(address, why)
        return address, found

    def judge(self, peer_id: str) -> Admission:
        """Ask the gate."""
        return self._gate(peer_id)

    def _connect(self, address: str, there: MemoryTransport) -> MemoryConnection:
        if self.network.listeners.get(address) is not there:
            raise DialError(nobody_listens(address))
        near = self._end(there.peer_id, address, Admission.KNOWN, inbound=False)
        # Where the other end comes from: a port of its own, as TCP has it.
        source = self.network.new_address()
        far = there.arrive(self.peer_id, source)
        near.other, far.other = far, near
        return near

    def arrive(self, peer_id: str, address: str) -> MemoryConnection:
        """Take an inbound connection, and return its end here."""
        far = self._end(peer_id, address, self._gate(peer_id), inbound=True)
        if far.admission is Admission.STRANGER:
            self._strangers.enter(far)
        self._incoming.put_nowait(far)
        return far

    def _end(
        self, peer_id: str, address: str, admission: Admission, *, inbound: bool
    ) -> MemoryConnection:
        connection = MemoryConnection(
            self.network,
            local_id=self.peer_id,
            peer_id=peer_id,
            remote_address=address,
            inbound=inbound,
            admission=admission,
            protocols=self._protocols,
            on_closed=self._closed,
        )
        self._connections.add(connection)
        return connection

    def _closed(self, connection: MemoryConnection) -> None:
        self._connections.discard(connection)
        self._strangers.leave(connection)
