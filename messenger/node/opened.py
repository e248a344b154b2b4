"""What lives between the opening of a home and its closing: the store, the identity, contacts and files.

It is opened with the key, put on the network, and closed again, as often as the home is locked and unlocked. Where the
key comes from, and when, is not known here (`home.py`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.errors import PeerpostError, StorageError
from peerpost.node.contact.addresses import reachable
from peerpost.node.contact.network import Network
from peerpost.node.files.transfers import Transfers
from peerpost.node.session.rates import RateLimits
from peerpost.store.db.engine import Store
from peerpost.store.homelock import HomeLock
from peerpost.store.tables import limits as rate_limits

from . import listening, log_levels, new_home, past, unfinished
from .clock import Clock
from .configured import Configured
from .deriving import Deriving
from .duties import Duties
from .events import Events
from .health import ControlSocket, Health
from .me import Me
from .me import load as load_me
from .services import Services
from .settings import Settings
from .tasks import EndsNode, Tasks

__all__ = ["OpenHome", "Opened"]

log = logging.getLogger(__name__)

FILE_THREADS = 4
"""Workers that hash, seal, write and flush: two for the processors, two that wait for a disk."""
COLLECT_OBJECTS = 20_000
"""New objects between two collections: a few hundred requests at once make as many that live on."""
SETTLED_S = 15.0
"""How long a command waits until the node listens: it loads the transport, which takes a second or a few."""


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
        """The event bus."""
        return self.services.events

    @property
    def clock(self) -> Clock:
        """The clock of the node."""
        return self.services.clock

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Threads for work that would block the loop."""
        return self.services.threads


class OpenHome:
    """What of a home is open now, if anything."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        clock: Clock,
        control: ControlSocket,
        lock: HomeLock | None,
        listen: Sequence[str],
        transfers_class: type[Transfers],
        deriving: Deriving,
        on_lost: Callable[[BaseException], None],
    ) -> None:
        """Take what outlives its opening. `on_lost` is called with a failure that leaves nothing to serve."""
        self.opened: Opened | None = None
        self.network_error: str | None = None
        """Why it does not listen."""
        self.listen_errors: Mapping[str, str] = {}
        """Addresses that it could not listen at, with the reason; they are tried again."""
        self.older_keyfile = False
        """Whether the keyfile is an older one than the store was opened with before: it was put back."""
        self.duties = Duties(clock=clock, on_lost=on_lost)
        self._path = path
        self._settings = settings
        self._clock = clock
        self._control = control
        self._lock = lock
        self._listen = listen
        self._transfers_class = transfers_class
        self._deriving = deriving
        self._on_lost = on_lost
        self._health: Health | None = None
        self._configured: Configured | None = None
        self._settled = asyncio.Event()
        self._tasks = Tasks()

    @property
    def unwell(self) -> Mapping[str, str]:
        """The problems of its files now, by subject."""
        return self._health.unwell if self._health else {}

    async def open(self, key: bytes) -> None:
        """Open all of it; it is not online yet. Raises StorageError, with nothing open."""
        path = HomePaths(self._path).store
        if not path.exists():
            # A new one would hide that everything is gone.
            raise StorageError(
                f"store.db of {self._path} is gone: its keyfile is there, and opens nothing",
                hint="put the home back from a backup, or choose another: --home DIR",
            )
        store = await self.open_store(path, key)
        try:
            await self._open_rest(store)
        except BaseException:
            # An unlock that fails leaves the home as locked as it was.
            self.opened = self._health = self._configured = None
            await self._tasks.stop()
            await store.close()
            raise

    async def _open_rest(self, store: Store) -> None:
        services = Services(
            home=self._path,
            store=store,
            settings=self._settings,
            events=Events(store),
            threads=ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files"),
            limits=RateLimits(self._clock),
            duties=self.duties,
            clock=self._clock,
            deriving=self._deriving,
        )
        self.older_keyfile = await past.look(store, self._path, self._clock)
        services.limits.load(await store.read(rate_limits.list_all))
        me = await load_me(store, self._clock)
        transfers = self._transfers_class(services)
        await transfers.recover()
        network = Network(services, me, transfers)
        await network.load()
        self._configured = Configured(services, network, transfers, self._tasks)
        self._configured.begin()
        self._keep("index-messages", transfers.indexing.follow)
        self.opened = Opened(services=services, me=me, network=network, transfers=transfers)
        self._health = Health(self._path, store, self._control, self._lock, on_taken=self._on_lost)
        self._keep("watch-home", self._health.watch)

    async def begin_anew(self, keys: Sequence[str]) -> None:
        """Make what is open follow the settings whose keys have changed."""
        if self.opened is None or self._configured is None:
            return
        opened, storage = self.opened, self._settings.now.storage
        if "network.announce" in keys and opened.network.ready.is_set():
            with suppress(StorageError):
                # Each dial announces again.
                await opened.network.reach.announce()
        if {"storage.accept", "storage.quota", "storage.min_free"} & set(keys):
            opened.store.keep_free(storage.min_free)
            # What contacts offer and waits may be acceptable now.
            for contact_id in opened.network.peers:
                opened.transfers.offered(contact_id)
        await self._configured.begin_anew(keys)

    async def open_store(self, path: Path, key: bytes) -> Store:
        """Open the store at a path, and make it if it is not there. Raises StorageError."""
        return await new_home.open_store(path, key, self._settings.now.storage)

    async def look_at_keyfile(self) -> None:
        """Look again whether the keyfile, which has changed, is an older one."""
        if self.opened is not None:
            self.older_keyfile = await past.look_at_keyfile(self.opened.store, self._path)

    def going_online(self) -> asyncio.Task[None]:
        """Begin to go online; the end of the home ends this too."""
        fails = EndsNode(self._on_lost)
        return self._tasks.spawn(self.go_online(), name="go-online", on_failure=fails)

    async def go_online(self) -> None:
        """Listen and dial if it is open; why it does not listen is kept in `network_error`."""
        if self.opened is None:
            return
        try:
            await self._listen_and_dial(self.opened)
        finally:
            self._settled.set()

    async def _listen_and_dial(self, opened: Opened) -> None:
        try:
            transport, self.listen_errors = await listening.begin(
                opened.me,
                opened.network.gate,
                self._listen or self._settings.now.network.listen,
            )
        except (PeerpostError, OSError) as error:
            # Without a descriptor for the transport, say, the home is open all the same, and answers commands.
            why = f"there can be no network: {error}"
            if isinstance(error, PeerpostError):
                why = error.message
            self.network_error = why
            log.error("cannot listen: %s", why)  # noqa: TRY400 - the reason is the message
            return
        log_levels.apply_again()
        # What is loaded by now stays for ever, so the garbage collector need not look through it, nor run often.
        gc.freeze()
        gc.set_threshold(COLLECT_OBJECTS)
        where = reachable(transport.addresses, self._settings.now.network.announce)
        try:
            await opened.me.announce(opened.store, where)
        except StorageError as error:
            # Each dial announces again; a full disk is no reason to stay away.
            log.warning("cannot note where we listen: %s", error.message)
        opened.network.start(transport)

    async def settled(self) -> None:
        """Wait, for a limited time, until it listens or has said why not. Without an identity, return at once."""
        if self.opened is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_S):
                    await self._settled.wait()

    async def end_streams(self) -> None:
        """Break off the streams that are still being read, while there is a session to tell the contact."""
        if self.opened is not None:
            await self.opened.transfers.pipes.stop()

    async def close(self) -> None:
        """Close it: sessions end, what is written is on the disk, and nothing of it runs any more."""
        await self.end_streams()
        await self._tasks.stop()
        if self.opened is not None:
            opened, self.opened = self.opened, None
            self._health = self._configured = None
            self._settled.clear()
            await opened.network.stop()
            await opened.transfers.stop()
            opened.threads.shutdown(wait=True, cancel_futures=True)
            await opened.store.close()
            self.network_error, self.listen_errors = None, {}
            # What was frozen when it went online refers to keys and rows, and would never be freed.
            del opened
            gc.unfreeze()
            gc.collect()

    async def has_work(self) -> bool:
        """Return whether something is under way, waits to be sent, or a ticket may still be used."""
        if self.opened is None:
            return False
        waits = await self.opened.store.read(unfinished.any_open, self._clock.now_ms())
        return waits or self.opened.transfers.busy

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.keep(name, work, self.duties)
