"""The node: opens a home, listens, serves the control socket, and leaves when it should.

A home without an identity is served too, but only `identity.new`, `node.status`, `node.stop` and `doctor`: the
command line is always a client, even for the first command.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peerpost import __version__
from peerpost.client import schedule
from peerpost.client.config import Config
from peerpost.client.paths import HomePaths
from peerpost.client.rpc import MethodNotFoundError, Request
from peerpost.errors import (
    AlreadyRunningError,
    NoIdentityError,
    PeerpostError,
    StorageError,
    UnavailableError,
)
from peerpost.net.interface import Priority, Transport
from peerpost.node.contact.addresses import reachable
from peerpost.node.contact.network import Network
from peerpost.node.control.methods import METHODS, WITHOUT_IDENTITY
from peerpost.node.control.server import DRAIN_S, ControlServer
from peerpost.node.files.transfers import Transfers
from peerpost.node.session.rates import RateLimits
from peerpost.node.session.session import BULK_PROTOCOL, HELLO_PROTOCOL, URGENT_PROTOCOL
from peerpost.store import disk, keyfile
from peerpost.store.db.engine import Store
from peerpost.store.homelock import HomeLock
from peerpost.store.tables import limits as rate_limits
from peerpost.store.tables import outbox

from . import new_home, surroundings
from .causes import cause_of
from .duties import Duties
from .events import Events
from .health import Health
from .me import Me
from .me import load as load_me
from .retention import Retention
from .services import Services
from .tasks import EndsNode, Tasks

__all__ = ["Node", "Opened"]

log = logging.getLogger(__name__)

PROTOCOLS = {
    HELLO_PROTOCOL: Priority.URGENT,
    URGENT_PROTOCOL: Priority.URGENT,
    BULK_PROTOCOL: Priority.BULK,
}
FILE_THREADS = 4
"""Workers that hash, seal, write and flush: two for the processors, two that wait for a disk."""
COLLECT_OBJECTS = 20_000
"""New objects between two collections: a few hundred requests at once make as many that live on."""
IDLE_CHECK_S = 1.0
SETTLED_S = 15.0
"""How long a command waits until the node listens: it loads the transport, which takes a second or a few."""
HAND_OVER_DRAIN_S = 0.5
"""What running requests may still take when another node takes over, which is to have the home within two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A home whose store is open: what the methods of the control socket work with."""

    services: Services
    me: Me
    network: Network
    transfers: Transfers

    @property
    def store(self) -> Store:
        """The database."""
        return self.services.store

    @property
    def events(self) -> Events:
        """What happens."""
        return self.services.events

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Workers for what would hold up the loop."""
        return self.services.threads


STREAMS = 16
"""What a peer may have open on one connection: it needs three, and unknown ones end at once."""


class Node:
    """One home, served."""

    transfers_class: type[Transfers] = Transfers
    """What moves files; the demonstration's liar has its own."""

    def __init__(
        self,
        home: Path,
        config: Config,
        *,
        listen: list[str] | None = None,
        idle_exit_s: float | None = None,
        lock: HomeLock | None = None,
        stalls: Callable[[], dict[str, Any] | None] = lambda: None,
    ) -> None:
        """Prepare to serve a home, whose `lock` is held by the caller for as long as this runs.

        `stalls` describes when the loop stood still.
        """
        self._lock = lock
        self._stalls = stalls
        self.home = home
        self.config = config
        self.network_error: str | None = None
        self.duties = Duties(on_lost=self._fail)
        self._health: Health | None = None
        self._listen_errors: Mapping[str, str] = {}
        self._opened: Opened | None = None
        self._started_s = time.monotonic()
        self._listen = listen or []
        self._idle_exit_s = idle_exit_s
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._drain_s = DRAIN_S
        self._opening = asyncio.Lock()
        self._control = ControlServer(HomePaths(home).socket, self._handle)
        self._tasks = Tasks()
        self._failure: BaseException | None = None

    def opened(self) -> Opened:
        """Return the open home. Raises NoIdentityError while there is no identity."""
        if self._opened is None:
            if keyfile.exists(self.home):
                raise NoIdentityError(
                    "the keyfile has come back since the node began without it",
                    hint="peerpost node stop, and then again",
                )
            raise HomePaths(self.home).no_identity()
        return self._opened

    # -- life

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until `stop_soon`. Raises PeerpostError where the home cannot be opened, or a failure ends it."""
        try:
            new_home.discard_half_made(self.home)
            if keyfile.exists(self.home):
                await self._open()
            await self._control.start()
            if self._opened is not None:
                await self._go_online(self._opened)
            on_ready()
            self._keep("watch-idle", self._watch_idle)
            await self._stopping.wait()
        finally:
            await self._close()
        if isinstance(self._failure, PeerpostError):
            raise self._failure
        if self._failure is not None:
            raise PeerpostError(
                f"the node had to end: {cause_of(self._failure)}"
            ) from self._failure

    def _fail(self, error: BaseException) -> None:
        """End the node for a failure without which it would be there for nothing."""
        self._failure = self._failure or error
        self.stop_soon(cause_of(error))

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.keep(name, work, self.duties)

    @property
    def stays(self) -> bool:
        """Whether it was begun to stay, or told to since; if not, a command has started it, and it leaves when idle."""
        return self._idle_exit_s is None

    def stay(self) -> None:
        """Leave no more by itself. Raises UnavailableError where it leaves already."""
        if self._stopping.is_set():
            raise UnavailableError("the node is leaving", hint="try again")
        self._idle_exit_s = None

    def hand_over(self) -> None:
        """Begin to leave for another node of this home. Raises AlreadyRunningError where this one stays."""
        if self.stays:
            raise AlreadyRunningError(
                f"the node runs already (process {os.getpid()})",
                hint="stop it first: peerpost node stop",
            )
        self._drain_s = HAND_OVER_DRAIN_S
        self.stop_soon("another node takes over")

    async def settled(self) -> None:
        """Wait until it listens, or has said why not; not where there is no identity, nor for ever."""
        if self._opened is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_S):
                    await self._settled.wait()

    def stop_soon(self, reason: str) -> None:
        """Begin to leave."""
        if not self._stopping.is_set():
            log.info("stopping: %s", reason)
            self._stopping.set()

    async def create_identity(self, name: str) -> None:
        """Make the identity of an empty home and go online: it listens, or has said why not. Raises ExistsError."""
        # A home that is made is opened too, though whoever asked has hung up.
        await self._tasks.to_its_end(self._create_identity(name), name="create-identity")

    async def _create_identity(self, name: str) -> None:
        async with self._opening:
            await new_home.make(self.home, name, self._open_store)
            opened = await self._open()
            going = self._tasks.spawn(
                self._go_online(opened), name="go-online", on_failure=EndsNode(self._fail)
            )
        await asyncio.wait([going])

    async def _open_store(self, path: Path, key: bytes) -> Store:
        # SQLite makes its log with the rights that it finds here, which an earlier umask of 0 may have given to all.
        with disk.errors(f"cannot close {path} to others"):
            for file in path.parent.glob(f"{path.name}*"):
                file.chmod(0o600)
        return await Store.open(
            path,
            key,
            loop=asyncio.get_running_loop(),
            ballast_bytes=self.config.storage.ballast,
            min_free_bytes=self.config.storage.min_free,
        )

    async def _open(self) -> Opened:
        path = HomePaths(self.home).store
        if not path.exists():
            # A new one would hide that everything is gone.
            raise StorageError(
                f"store.db of {self.home} is gone: its keyfile is there, and opens nothing",
                hint="put the home back from a backup, or choose another: --home DIR",
            )
        store = await self._open_store(path, keyfile.unlock(self.home))
        services = Services(
            home=self.home,
            store=store,
            config=self.config,
            events=Events(),
            threads=ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files"),
            limits=RateLimits(),
            duties=self.duties,
        )
        services.limits.load(await store.read(rate_limits.list_all))
        if windows := [schedule.parse(text) for text in self.config.limits.schedule]:
            self._keep("follow-schedule", lambda: services.limits.follow(windows))
        me = await load_me(store)
        transfers = self.transfers_class(services)
        await transfers.recover()
        network = Network(services, me, transfers)
        await network.load()
        retention = Retention(services, transfers.arrived)
        if retention.limits:
            self._keep("keep-within", retention.follow)
        if services.plainly:
            self._keep("write-downloads", transfers.unsealing.follow)
        self._opened = Opened(services=services, me=me, network=network, transfers=transfers)
        self._health = Health(self.home, store, self._control, self._lock, on_taken=self._fail)
        self._keep("watch-home", self._health.watch)
        return self._opened

    async def _go_online(self, opened: Opened) -> None:
        try:
            await self._listen_and_dial(opened)
        finally:
            self._settled.set()

    async def _listen_and_dial(self, opened: Opened) -> None:
        """Load libp2p, off the loop because it takes a second, and listen."""
        loop = asyncio.get_running_loop()
        module = await loop.run_in_executor(
            None, importlib.import_module, "peerpost.net.tcp.transport"
        )
        try:
            transport = await self._listen_somewhere(opened, module)
        except PeerpostError as error:
            self.network_error = error.message
            log.error("cannot listen: %s", error.message)  # noqa: TRY400 - the reason is the message
            return
        # What is loaded by now stays: the collector need not look through it, and need not look often.
        gc.freeze()
        gc.set_threshold(COLLECT_OBJECTS)
        where = reachable(transport.addresses, self.config.network.announce)
        try:
            await opened.me.announce(opened.store, where)
        except StorageError as error:
            # Each dial announces again; a full disk is no reason to stay away.
            log.warning("cannot note where we listen: %s", error.message)
        opened.network.start(transport)

    async def _listen_somewhere(self, opened: Opened, module: Any) -> Transport:
        """Listen where it can be had; the transport goes on trying the rest, and dials meanwhile."""
        port = opened.me.row.listen_port
        listen = self._listen or list(self.config.network.listen) or ["/ip4/0.0.0.0/tcp/0"]
        chosen = [_with_port(a, port) if a.endswith("/tcp/0") else a for a in listen]
        seed, gate = opened.me.transport.seed, opened.network.gate
        limits = module.Limits(streams=STREAMS)
        made = module.LibP2PTransport(seed, chosen, gate, PROTOCOLS, limits=limits, patient=True)
        transport: Transport = made
        await transport.start()
        self._listen_errors = made.listen_errors
        return transport

    async def _close(self) -> None:
        if self._opened is not None:
            # While there is still a session to say so: what is cut off now is no file.
            await self._opened.transfers.streams.stop()
        await self._control.stop(self._drain_s)
        await self._tasks.stop()
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.network.stop()
            await opened.transfers.stop()
            opened.threads.shutdown(wait=True, cancel_futures=True)
            await opened.store.close()

    # -- idle

    async def _watch_idle(self) -> None:
        busy_s = time.monotonic()
        while True:
            await asyncio.sleep(IDLE_CHECK_S)
            limit_s = self._idle_exit_s
            if limit_s is None or self._control.requests or await self._has_work():
                busy_s = time.monotonic()
            elif time.monotonic() - busy_s >= limit_s:
                self.stop_soon("idle, and nothing is queued")

    async def _has_work(self) -> bool:
        if self._opened is None:
            return False
        waits = await self._opened.store.read(outbox.any_open)
        return waits or self._opened.transfers.busy

    # -- control socket

    def _handle(self, request: Request) -> Any:
        method = METHODS.get(request.method)
        if method is None:
            raise MethodNotFoundError(f"no method {request.method!r}")
        if request.method not in WITHOUT_IDENTITY:
            self.opened()
        return method(self, request)

    def ready_event(self) -> dict[str, Any]:
        """Describe the node as its ready line does."""
        status = self.status()
        return {
            "event": "ready",
            "peer_id": status["peer_id"],
            "addresses": status["addresses"],
            "control": str(self._control.path),
            "metrics": None,
        }

    def status(self) -> dict[str, Any]:
        """Describe the node for `node status`."""
        opened = self._opened
        peers = opened.network.peers.values() if opened else ()
        unreachable = opened.network.unreachable if opened else None
        listen_errors = "; ".join(self._listen_errors.values())
        return {
            "state": "no identity" if opened is None else "running",
            "pid": os.getpid(),
            "stays": self.stays,
            "version": __version__,
            "home": str(self.home),
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "peer_id": opened.me.peer_id if opened else None,
            "addresses": list(opened.network.reach.bound) if opened else [],
            "online": sum(peer.online for peer in peers),
            "contacts": len(peers),
            "error": self.network_error or unreachable or listen_errors or None,
            "not_listening": dict(self._listen_errors),
            "unwell": dict(self._health.unwell) if self._health else {},
            "failing": self.duties.failing(),
            "stalls": self._stalls(),
            "niceness": surroundings.niceness(),
            "held_back": surroundings.held_back(),
        }


def _with_port(address: str, port: int) -> str:
    return f"{address.rsplit('/', 1)[0]}/{port}"
