"""The transport over py-libp2p: TCP, Noise and yamux; dialling and accepting run in trio, the bytes on the loop.

Everything that a stranger could exhaust is bounded here: the handshakes in progress (if all places are taken, the
network with the most gives one up, so that slow handshakes from one network keep nobody out), how often each network
may begin one, the connections in all and for each peer, and the antechamber of unknown peer ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import functools
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import trio

from peerpost.errors import BadInputError, PeerpostError
from peerpost.net import sockets
from peerpost.net.antechamber import Antechamber
from peerpost.net.interface import (
    Admission,
    Connection,
    ConnectionLostError,
    DialError,
    Gate,
    Priority,
)
from peerpost.net.mux.connection import MuxedConnection
from peerpost.net.mux.keepalive import Keepalive
from peerpost.net.mux.records import RecordOpener, RecordSealer
from peerpost.net.mux.yamux import YamuxLimits
from peerpost.net.shares import Pacer, Places, network_of
from peerpost.net.unreached import no_answer, place_of, why_unreached
from peerpost.wire.address import parse

from .guest import Guest
from .upgrade import Secured, Upgrade

__all__ = ["LibP2PTransport"]

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
HANDSHAKES = 128
"""Inbound handshakes in progress at once."""
HANDSHAKES_PER_NETWORK = 16
"""Most of those for one network, once all places are taken."""
NETWORK_HANDSHAKES_S = 16.0
NETWORK_BURST = 256
"""How many handshakes one network may begin, a second in the long run and at once, while other networks want some too:
each costs us some milliseconds of CPU.
"""
CONNECTIONS = 512
CONNECTIONS_PER_PEER = 3
"""Inbound. A newer one replaces the oldest, because a peer that connects again has probably lost that one."""
LISTEN_AGAIN_S = 1.0
"""First wait before an address that could not be bound is tried again; each further wait is twice as long."""
LISTEN_AGAIN_CAP_S = 30.0
STAGGER_S = 0.25
"""Between dialling two addresses of one peer (RFC 8305, section 5)."""
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class LibP2PTransport:
    """One peer id on the network (`interface.Transport`)."""

    def __init__(
        self,
        seed: bytes,
        listen: Sequence[str],
        gate: Gate,
        protocols: Mapping[str, Priority],
        *,
        limits: YamuxLimits | None = None,
        keepalive: Keepalive | None = None,
        patient: bool = False,
    ) -> None:
        """Make a transport of a transport key.

        A `patient` one starts with the addresses that can be bound and tries the others for ever. If it is not
        patient, `start` raises UnavailableError when one cannot be bound.
        """
        self._upgrade = Upgrade(seed, lambda peer_id: gate(peer_id) is not Admission.REFUSED)
        self._listen = list(listen)
        self._gate = gate
        self._protocols = protocols
        self._limits = limits or YamuxLimits()
        self._keepalive = keepalive
        self._patient = patient
        self.listen_errors: dict[str, str] = {}
        """Why it does not listen on an address, for each that is still tried."""
        self._bound: list[str] = []
        self._listeners: list[socket.socket] = []
        self._guest: Guest | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._incoming: asyncio.Queue[MuxedConnection | ConnectionLostError] = asyncio.Queue()
        self._connections: set[MuxedConnection] = set()
        self._strangers = Antechamber()
        self._watchers: set[asyncio.Task[None]] = set()
        self._handshakes: Places[trio.CancelScope] = Places(HANDSHAKES, HANDSHAKES_PER_NETWORK)
        self._pacer = Pacer(NETWORK_HANDSHAKES_S, NETWORK_BURST)
        self._stopped = False
        self._dials: set[trio.CancelScope] = set()

    @property
    def peer_id(self) -> str:
        """Peer id of the transport key."""
        return self._upgrade.peer_id

    @property
    def addresses(self) -> Sequence[str]:
        """Multiaddrs really bound."""
        return tuple(self._bound)

    # -- life

    async def start(self) -> None:
        """Bind and listen (`interface.Transport`)."""
        self.listen_errors.clear()
        try:
            for address in self._listen:
                self._listen_on(address)
            self._guest = await Guest.acquire()
        except BaseException:
            self._unlisten()
            raise
        self._bound = [sockets.bound_address(listener).text for listener in self._listeners]
        if not self.listen_errors:
            # After a failure it must be reachable where it was before, even if the system chose the port.
            self._listen = list(self._bound)
        if self._stopped:
            # Whoever still waits at the old queue gets an answer there.
            self._stopped, self._incoming = False, asyncio.Queue()
        self._accepting = asyncio.get_running_loop().create_task(
            self._serve(self._guest), name="listen"
        )

    def _listen_on(self, address: str) -> None:
        try:
            self._listeners.append(sockets.bind(parse(address, listen=True)))
        except PeerpostError as error:
            if not self._patient:
                raise
            self.listen_errors[address] = error.message
            log.warning("%s; it is tried again, and a free port meanwhile", error.message)
            with contextlib.suppress(PeerpostError):
                anywhere = dataclasses.replace(parse(address, listen=True), port=0)
                self._listeners.append(sockets.bind(anywhere))
                self.listen_errors[address] += "; listening on another port"

    def _unlisten(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def stop(self) -> None:
        """Close everything (`interface.Transport`)."""
        guest, self._guest = self._guest, None
        if guest is None:
            return
        self._stopped, self._bound = True, []
        while not self._incoming.empty():
            self._incoming.get_nowait()
        self._incoming.put_nowait(ConnectionLostError("the transport has stopped"))
        guest.cancel(self._dials)
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        self._unlisten()
        # A connection whose handshake has just ended may not be in the set yet.
        while self._connections or self._watchers:
            await asyncio.gather(*(connection.close() for connection in list(self._connections)))
            if self._watchers:
                # Not `gather`: from Python 3.12 on it does not give the callback a turn that removes finished tasks.
                await asyncio.wait(self._watchers)
        await guest.release()

    async def _serve(self, guest: Guest) -> None:
        """Accept until cancelled. If the guest ends by itself, tell whoever waits in `accept`."""
        try:
            await guest.call(self._accept_all)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the transport has failed")
            lost = ConnectionLostError(f"the transport has failed: {error}")
            lost.__cause__ = error
            self._incoming.put_nowait(lost)
            self._unlisten()

    # -- inbound, in trio

    async def _accept_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for listener in self._listeners:
                nursery.start_soon(self._accept_on, trio.socket.from_stdlib_socket(listener))
            for address in self.listen_errors:
                nursery.start_soon(self._listen_later, address, nursery)

    async def _listen_later(self, address: str, nursery: trio.Nursery) -> None:
        wait_s = LISTEN_AGAIN_S
        while True:
            await trio.sleep(wait_s)
            wait_s = min(wait_s * 2, LISTEN_AGAIN_CAP_S)
            try:
                listener = sockets.bind(parse(address, listen=True))
            except PeerpostError as error:
                log.debug("%s", error.message)
                continue
            self._listeners.append(listener)
            self._bound.append(sockets.bound_address(listener).text)
            self.listen_errors.pop(address, None)
            log.info("listening on %s now", address)
            nursery.start_soon(self._accept_on, trio.socket.from_stdlib_socket(listener))
            return

    async def _accept_on(self, listener: trio.socket.SocketType) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    sock, address = await listener.accept()
                except OSError as error:
                    # The peer may be gone already; without descriptors, wait for one to come free.
                    if error.errno in NO_DESCRIPTORS:
                        log.warning("cannot accept: %s", error.strerror)
                        await trio.sleep(0.1)
                    continue
                network = network_of(str(address[0]))
                allowed = self._pacer.allows(network, trio.current_time())
                # Beyond its pace a network keeps the processor from the others: while there are any.
                if allowed or not self._handshakes.contested(network):
                    nursery.start_soon(self._receive, sock, network)
                else:
                    sock.close()

    async def _receive(self, sock: trio.socket.SocketType, network: str) -> None:
        scope = trio.CancelScope(deadline=trio.current_time() + HANDSHAKE_TIMEOUT_S)
        leaver = self._handshakes.take(scope, network)
        if leaver is not None:
            leaver.cancel()
        stream = trio.SocketStream(sock)
        try:
            with scope:
                secured = await self._upgrade.inbound(stream)
                asyncio.get_running_loop().call_soon(self._arrived, secured)
        except PeerpostError as error:
            log.debug("an inbound handshake failed: %s", error.message)
        except Exception:
            # Nothing that one peer does may end the nursery of all.
            log.exception("an inbound handshake failed")
        finally:
            self._handshakes.leave(scope)
            sock.close()  # Does nothing to a socket that was handed on.

    # -- inbound, on the loop

    def _arrived(self, secured: Secured) -> None:
        self._spawn(self._welcome(secured), secured.close)

    async def _welcome(self, secured: Secured) -> None:
        # Asked again: much may have changed since the handshake began.
        admission = self._gate(secured.peer_id)
        if (
            self._guest is None
            or admission is Admission.REFUSED
            or not self._has_room(secured.peer_id)
        ):
            secured.close()
            return
        try:
            connection = await self._adopt(secured, admission, inbound=True)
        except OSError as error:
            log.debug("an inbound connection broke at once: %s", error)
            return
        if self._stopped:
            connection.abort()
            return
        if admission is Admission.STRANGER:
            self._strangers.enter(connection)
        self._incoming.put_nowait(connection)

    def _has_room(self, peer_id: str) -> bool:
        """Make room for one more connection of a peer, from whoever has several; return whether there is any."""
        inbound = [c for c in self._connections if c.inbound]
        inbound.sort(key=lambda connection: connection.opened_s)
        same = [c for c in inbound if c.peer_id == peer_id]
        if len(same) >= CONNECTIONS_PER_PEER:
            self._drop(same[0])
        elif len(self._connections) >= CONNECTIONS:
            counts = Counter(c.peer_id for c in inbound)
            many = [c for c in inbound if counts[c.peer_id] > max(1, len(same))]
            if not many:
                return False
            most = max(counts[c.peer_id] for c in many)
            self._drop(next(c for c in many if counts[c.peer_id] == most))
        return True

    def _drop(self, connection: MuxedConnection) -> None:
        self._connections.discard(connection)
        connection.abort()

    async def _adopt(
        self, secured: Secured, admission: Admission, *, inbound: bool
    ) -> MuxedConnection:
        """Put a secured socket on the loop."""
        sockets.tune(secured.sock)
        connection = MuxedConnection(
            peer_id=secured.peer_id,
            inbound=inbound,
            remote=sockets.remote_address(secured.sock),
            admission=admission,
            sealer=RecordSealer(secured.send_key, secured.send_counter),
            opener=RecordOpener(secured.receive_key, secured.receive_counter),
            protocols=self._protocols,
            early=secured.early,
            limits=dataclasses.replace(self._limits),
            keepalive=self._keepalive,
        )
        self._connections.add(connection)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, secured.sock
            )
        except BaseException:
            self._connections.discard(connection)
            connection.abort()  # The loop may have given it the socket already, and tells it nothing more.
            secured.close()
            raise
        self._spawn(self._watch(connection), connection.abort)
        return connection

    async def _watch(self, connection: MuxedConnection) -> None:
        await connection.wait_closed()
        self._connections.discard(connection)
        self._strangers.leave(connection)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], end: Callable[[], object]) -> None:
        """Run a coroutine of one connection. Nobody awaits it, so if it fails, the connection ends."""

        def ended(task: asyncio.Task[None]) -> None:
            self._watchers.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a connection failed: %r", error, exc_info=error)
                end()

        task = asyncio.get_running_loop().create_task(coroutine)
        self._watchers.add(task)
        task.add_done_callback(ended)

    # -- the node's side

    async def accept(self) -> Connection:
        """Wait for the next inbound connection (`interface.Transport`)."""
        connection = await self._incoming.get()
        if isinstance(connection, ConnectionLostError):
            self._incoming.put_nowait(connection)
            raise connection
        return connection

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10.0
    ) -> Connection:
        """Connect over the first address that works (`interface.Transport`)."""
        guest = self._guest
        if guest is None:
            raise DialError("the transport is not running")
        dial = functools.partial(self._dial, peer_id, list(addresses), timeout_s)
        try:
            secured = await guest.call(dial, discard=Secured.close)
            if self._guest is not guest:
                secured.close()
                raise DialError("the transport has stopped")
            return await self._adopt(secured, Admission.KNOWN, inbound=False)
        except OSError as error:
            raise DialError("the connection broke at once") from error

    # -- outbound, in trio

    async def _dial(self, peer_id: str, addresses: list[str], timeout_s: float) -> Secured:
        won: list[Secured] = []
        causes: dict[str, str] = {}

        async def attempt(address: str, failed: trio.Event) -> None:
            try:
                secured = await self._reach(peer_id, address)
            except PeerpostError as error:
                causes[address] = error.message
                failed.set()
            else:
                if won:
                    secured.close()
                else:
                    won.append(secured)
                    nursery.cancel_scope.cancel()

        scope = trio.move_on_after(timeout_s)
        self._dials.add(scope)
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    for address in addresses:
                        failed = trio.Event()
                        nursery.start_soon(attempt, address, failed)
                        with trio.move_on_after(STAGGER_S):
                            await failed.wait()
        except BaseException:
            for secured in won:
                secured.close()
            raise
        finally:
            self._dials.discard(scope)
        if won:
            return won[0]
        if self._stopped:
            raise DialError("the transport has stopped")
        told = [causes.get(address) or no_answer(address, timeout_s) for address in addresses]
        raise DialError("; ".join(told) or "no address is known")

    async def _reach(self, peer_id: str, address: str) -> Secured:
        try:
            family, host, port = sockets.dial_target(parse(address))
        except BadInputError as error:
            raise DialError(f"{address} is {error.message}") from None
        try:
            found = await trio.socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except OSError as error:
            raise DialError(why_unreached(address, error)) from error
        problem = DialError(f"the name {host} has no address")
        for kind, _, protocol, _, target in found:
            sock = trio.socket.socket(kind, socket.SOCK_STREAM, protocol)
            try:
                await sock.connect(target)
                with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                    return await self._upgrade.outbound(trio.SocketStream(sock), peer_id)
            except PeerpostError as error:
                problem = DialError(f"{error.message} at {place_of(address)}")
            except OSError as error:
                problem = DialError(why_unreached(address, error))
            except trio.TooSlowError:
                problem = DialError(f"{place_of(address)} does not finish the handshake")
            finally:
                sock.close()
        raise problem
