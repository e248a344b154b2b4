"""One home: opened by its key, put on the network, and closed again, while the process around it goes on.

The store, the identity, contacts and files live together, from `open` to `close`. The control socket is not part of
that, because it also answers for a home that has no identity or is closed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from peerpost.client import schedule
from peerpost.client.config import Config
from peerpost.client.paths import HomePaths
from peerpost.errors import (
    LockedError,
    NoIdentityError,
    PeerpostError,
    StorageError,
    UnavailableError,
    UsageError,
)
from peerpost.node.contact.addresses import reachable
from peerpost.node.contact.network import Network
from peerpost.node.files.transfers import Transfers
from peerpost.node.session.rates import RateLimits
from peerpost.store import keyfile
from peerpost.store.db import rekey as rekeying
from peerpost.store.db.engine import Store
from peerpost.store.files.backup import Manifest
from peerpost.store.homelock import HomeLock
from peerpost.store.tables import limits as rate_limits

from . import deleting, listening, logs, new_home, past, restoring, unfinished
from .clock import Clock
from .duties import Duties
from .events import Events
from .health import ControlSocket, Health
from .me import Me
from .me import load as load_me
from .new_home import ChosenSecrets
from .protection import Protection, cost_of
from .retention import Retention
from .services import Services
from .tasks import EndsNode, Tasks

__all__ = ["Home", "Opened"]

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


async def _nothing() -> None:
    """End no requests: there are none."""


class Home:
    """A home whose lock this process holds; it is open or closed."""

    def __init__(
        self,
        path: Path,
        config: Config,
        *,
        clock: Clock,
        control: ControlSocket,
        lock: HomeLock | None,
        listen: Sequence[str],
        transfers_class: type[Transfers],
        on_lost: Callable[[BaseException], None],
        end_requests: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Take what outlives its opening.

        `on_lost` is called with a failure that leaves nothing to serve. `end_requests` ends the requests that work
        with the open home, before it is locked.
        """
        self.path = path
        self.network_error: str | None = None
        """Why it does not listen."""
        self.older_keyfile = False
        """Whether the keyfile is an older one than the store was opened with before: it was put back."""
        self.listen_errors: Mapping[str, str] = {}
        """Addresses that it could not listen at, with the reason; they are tried again."""
        self.duties = Duties(clock=clock, on_lost=on_lost)
        self._config = config
        self._clock = clock
        self._control = control
        self._lock = lock
        self._listen = listen
        self._transfers_class = transfers_class
        self._on_lost = on_lost
        self._end_requests = end_requests
        self._opened: Opened | None = None
        self._health: Health | None = None
        self._settled = asyncio.Event()
        self._opening = asyncio.Lock()
        """Held while it is made, opened or locked."""
        self._locked = False
        self._encrypting = False
        self._giving_up = threading.Event()
        """Ends what may take long, as far as it can be ended."""
        self._protection = Protection(path, config)
        self._locking = False
        self._acts = Tasks()
        """What makes, opens and locks it: more than one life of the open home."""
        self._tasks = Tasks()
        """What ends with the open home."""

    @property
    def open_now(self) -> Opened | None:
        """The open home, or None."""
        return None if self._locked or self._encrypting else self._opened

    @property
    def encrypting(self) -> bool:
        """Whether it is closed for the time of being encrypted anew."""
        return self._encrypting

    @property
    def locked(self) -> bool:
        """Whether it has an identity, and its key is not here."""
        return self._locked

    @property
    def locking(self) -> bool:
        """Whether it is being locked: nobody gets at it any more, and some of it is still open."""
        return self._locking

    @property
    def protected(self) -> bool:
        """Whether it has a passphrase. A keyfile that cannot be read counts as one that has."""
        try:
            return keyfile.exists(self.path) and keyfile.is_protected(self.path)
        except PeerpostError:
            return True

    @property
    def unwell(self) -> Mapping[str, str]:
        """The problems of its files now, by subject."""
        return self._health.unwell if self._health else {}

    def opened(self) -> Opened:
        """Return the open home.

        Raises NoIdentityError while there is no identity, LockedError while it is locked, UnavailableError while it is
        encrypted anew.
        """
        if self._encrypting:
            raise UnavailableError(
                "the home is being encrypted anew", hint="try again when that has ended"
            )
        if self._locked:
            raise LockedError("the home is locked", hint=keyfile.HOW_TO_UNLOCK)
        if self._opened is None:
            if keyfile.exists(self.path):
                raise NoIdentityError(
                    "the keyfile has come back since the node began without it",
                    hint="peerpost node stop, and then again",
                )
            raise HomePaths(self.path).no_identity()
        return self._opened

    async def open(self, secret: bytes | None = None) -> None:
        """Open it if it has an identity; without a secret, one with a passphrase stays locked until `unlock`.

        Raises StorageError if it cannot be opened, BadInputError if its keyfile is damaged, LockedError if the secret
        is wrong.
        """
        new_home.discard_half_made(self.path)
        restoring.settle(self.path)
        if keyfile.exists(self.path):
            await asyncio.to_thread(rekeying.recover, self.path)
            self._locked = keyfile.is_protected(self.path)
            logs.keep_discreet(discreet=self._locked)
            if not self._locked or secret is not None:
                await self._open(await self._key(() if secret is None else (secret,)))
                self._locked = False

    async def go_online(self) -> None:
        """Listen and dial if it is open; why it does not listen is kept in `network_error`."""
        if self._opened is not None:
            await self._go_online(self._opened)

    async def settled(self) -> None:
        """Wait, for a limited time, until it listens or has said why not. Without an identity, return at once."""
        if self._opened is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_S):
                    await self._settled.wait()

    async def create_identity(self, name: str, chosen: ChosenSecrets | None = None) -> None:
        """Make the identity of an empty home and go online: it listens, or has said why not. Raises ExistsError."""
        # Even if the client has hung up meanwhile, a home that is made is opened too.
        work = self._create_identity(name, chosen or ChosenSecrets())
        await self._acts.to_its_end(work, name="create-identity")

    async def _create_identity(self, name: str, chosen: ChosenSecrets) -> None:
        async with self._opening:
            key = await new_home.make(
                self.path,
                name,
                self._open_store,
                chosen,
                lambda: cost_of(self._config),
                self._clock,
            )
            try:
                opened = await self._open(key)
            except Exception as error:
                raise new_home.not_opened(error) from error
            going = self._going_online(opened)
            await asyncio.wait([going])

    def _going_online(self, opened: Opened) -> asyncio.Task[None]:
        fails = EndsNode(self._on_lost)
        return self._tasks.spawn(self._go_online(opened), name="go-online", on_failure=fails)

    def restoring(
        self, source_fd: int, secret: bytes
    ) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
        """Put an empty home back. Yield (bytes done, of how many), and at last what was put back.

        It stays closed: whoever starts next opens it. Raises what `Restoring.run` raises, with nothing changed.
        """
        return restoring.put_back(self.path, source_fd, secret, alone=self._opening)

    async def delete_identity(self) -> None:
        """Make its keyfile unreadable, close it, and delete what is in it. Raises NoIdentityError, StorageError."""
        await self._tasks.to_its_end(self._delete_identity(), name="delete-identity")

    async def _delete_identity(self) -> None:
        async with self._opening:
            await asyncio.to_thread(deleting.shred_key, self.path)
            self._locked = False
            await self.settled()
            await self._close()
            await asyncio.to_thread(deleting.delete_rest, self.path)

    async def unlock(self, secrets: Sequence[bytes]) -> None:
        """Open it, if it is locked, by one of these; it goes online by itself then. A home that is open stays so.

        Raises LockedError if they are wrong or too many were, StorageError, NoIdentityError. It is as locked as
        before then, and nothing on the disk has changed.
        """
        await self._acts.to_its_end(self._unlock(secrets), name="unlock")

    async def _unlock(self, secrets: Sequence[bytes]) -> None:
        async with self._opening:
            if not self._locked:
                self.opened()
                return
            opened = await self._open(await self._protection.unlock(secrets))
            self._locked = False
            self._going_online(opened)
            log.info("unlocked")

    async def lock(self, why: str) -> None:
        """Close it and forget its key. A home that is locked stays so. Raises UsageError if it has no passphrase."""
        await self._acts.to_its_end(self._lock_now(why), name="lock")

    async def _lock_now(self, why: str) -> None:
        async with self._opening:
            if self._locked:
                return
            self.opened()
            if not self.protected:
                raise UsageError(
                    "the home has no passphrase, so that it cannot be locked",
                    hint="set one: peerpost identity passphrase set",
                )
            # From here on no new request gets at it. What runs may still end.
            self._locked = self._locking = True
            log.info("locking: %s", why)
            try:
                await self._shut()
            finally:
                self._locking = False
            log.info("locked")

    async def _shut(self) -> None:
        """Close it while the process goes on; no new request gets at it by now."""
        # A transport that is just beginning to listen has no owner yet who would end it.
        await self.settled()
        try:
            await self.end_streams()
            await self._end_requests()
            await self._close()
        except Exception as error:
            # Half of it may be open still: only the end of the process closes that.
            self._on_lost(error)
            raise

    async def check_secrets(self, secrets: Sequence[bytes]) -> None:
        """Return if one of these opens the home, which stays open, or locked. Raises as `change_secrets` does."""
        async with self._opening:
            await self._protection.check(secrets)

    async def change_secrets(self, secrets: Sequence[bytes], chosen: ChosenSecrets) -> None:
        """Give it another passphrase, by one of the secrets that it has; it may be open or locked, and stays so.

        Raises LockedError if they are wrong or too many were, UsageError if it has no passphrase, StorageError.
        """
        # A thread writes the keyfile, and goes on if the client has hung up: nothing else may begin before it ends.
        await self._acts.to_its_end(self._change_secrets(secrets, chosen), name="change-secrets")

    async def _change_secrets(self, secrets: Sequence[bytes], chosen: ChosenSecrets) -> None:
        async with self._opening:
            self._require_identity()
            await self._protection.change(secrets, chosen)
            if self._opened is not None:
                self.older_keyfile = await past.look_at_keyfile(self._opened.store, self.path)
            log.info("the passphrase was changed")

    async def keep_in_keyring(self, secrets: Sequence[bytes], kept: bytes | None) -> None:
        """Let a secret that the keyring of the system keeps open it too, or none any more; it stays open, or locked.

        Raises as `change_secrets` does.
        """
        async with self._opening:
            self._require_identity()
            await self._protection.keep_in_keyring(secrets, kept)
            if self._opened is not None:
                self.older_keyfile = await past.look_at_keyfile(self._opened.store, self.path)

    async def rekey(
        self, secrets: Sequence[bytes], chosen: ChosenSecrets, on_progress: rekeying.OnProgress
    ) -> None:
        """Encrypt the store anew, for a first passphrase or, with nothing chosen, for none; it is open then.

        It is closed meanwhile, and opens again whatever happens. `on_progress` is called in another thread. Raises what
        `change_secrets` and `peerpost.store.db.rekey` raise.
        """
        await self._acts.to_its_end(self._rekey(secrets, chosen, on_progress), name="rekey")

    async def _rekey(
        self, secrets: Sequence[bytes], chosen: ChosenSecrets, on_progress: rekeying.OnProgress
    ) -> None:
        async with self._opening:
            self._require_identity()
            self._protection.require(is_protected=chosen.passphrase is None)
            rekeying.require_room(self.path)
            key = await self._key(secrets)
            made = await self._protection.draft(chosen)

            def progress(done_bytes: int, all_bytes: int) -> None:
                if self._giving_up.is_set():
                    raise UnavailableError("the node is leaving; nothing was changed")
                on_progress(done_bytes, all_bytes)

            self._encrypting = True
            try:
                await self._rekey_closed(key, made, progress)
            finally:
                self._encrypting = False
            log.info("the store has another key")

    async def _key(self, secrets: Sequence[bytes]) -> bytes:
        """Return the data key, which needs a secret only if the home has a passphrase."""
        if keyfile.is_protected(self.path):
            return await self._protection.unlock(secrets)
        return keyfile.unlock(self.path)

    async def _rekey_closed(
        self, key: bytes, made: keyfile.NextKeyfile, on_progress: rekeying.OnProgress
    ) -> None:
        if not self._locked:
            await self._shut()
        try:
            await asyncio.to_thread(rekeying.rekey, self.path, key, made, on_progress)
        finally:
            try:
                in_force = made.key if keyfile.store_tag(self.path) == made.store else key
                self._going_online(await self._open(in_force))
                self._locked = False
            except Exception as error:
                # It is neither open nor locked: the next start finds out what there is.
                self._on_lost(error)
                raise

    def _require_identity(self) -> None:
        if not self._locked:
            self.opened()

    async def _open_store(self, path: Path, key: bytes) -> Store:
        return await new_home.open_store(path, key, self._config.storage)

    async def _open(self, key: bytes) -> Opened:
        logs.keep_discreet(discreet=self.protected)
        path = HomePaths(self.path).store
        if not path.exists():
            # A new one would hide that everything is gone.
            raise StorageError(
                f"store.db of {self.path} is gone: its keyfile is there, and opens nothing",
                hint="put the home back from a backup, or choose another: --home DIR",
            )
        store = await self._open_store(path, key)
        try:
            return await self._open_rest(store)
        except BaseException:
            # An unlock that fails leaves the home as locked as it was.
            await self._tasks.stop()
            await store.close()
            raise

    async def _open_rest(self, store: Store) -> Opened:
        services = Services(
            home=self.path,
            store=store,
            config=self._config,
            events=Events(store),
            threads=ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files"),
            limits=RateLimits(self._clock),
            duties=self.duties,
            clock=self._clock,
        )
        self.older_keyfile = await past.look(store, self.path, self._clock)
        services.limits.load(await store.read(rate_limits.list_all))
        if windows := [schedule.parse(text) for text in self._config.limits.schedule]:
            self._keep("follow-schedule", lambda: services.limits.follow(windows))
        me = await load_me(store, self._clock)
        transfers = self._transfers_class(services)
        await transfers.recover()
        network = Network(services, me, transfers)
        await network.load()
        retention = Retention(services, transfers.arrived)
        if retention.limits:
            self._keep("keep-within", retention.follow)
        if services.plainly:
            self._keep("write-downloads", transfers.unsealing.follow)
        self._keep("index-messages", transfers.indexing.follow)
        self._opened = Opened(services=services, me=me, network=network, transfers=transfers)
        self._health = Health(self.path, store, self._control, self._lock, on_taken=self._on_lost)
        self._keep("watch-home", self._health.watch)
        return self._opened

    async def _go_online(self, opened: Opened) -> None:
        try:
            await self._listen_and_dial(opened)
        finally:
            self._settled.set()

    async def _listen_and_dial(self, opened: Opened) -> None:
        try:
            transport, self.listen_errors = await listening.begin(
                opened.me,
                opened.network.gate,
                self._listen or self._config.network.listen,
            )
        except PeerpostError as error:
            self.network_error = error.message
            log.error("cannot listen: %s", error.message)  # noqa: TRY400 - the reason is the message
            return
        # What is loaded by now stays for ever, so the garbage collector need not look through it, nor run often.
        gc.freeze()
        gc.set_threshold(COLLECT_OBJECTS)
        where = reachable(transport.addresses, self._config.network.announce)
        try:
            await opened.me.announce(opened.store, where)
        except StorageError as error:
            # Each dial announces again; a full disk is no reason to stay away.
            log.warning("cannot note where we listen: %s", error.message)
        opened.network.start(transport)

    async def end_streams(self) -> None:
        """Break off the streams that are still being read, while there is a session to tell the contact."""
        if self._opened is not None:
            await self._opened.transfers.pipes.stop()

    async def close(self) -> None:
        """Close it: sessions end, what is written is on the disk, and nothing of it runs any more.

        What is being made, opened or locked is finished first; a copy of the store under another key is given up.
        """
        self._giving_up.set()
        async with self._opening:
            await self._close()
        await self._acts.stop()

    async def _close(self) -> None:
        await self.end_streams()
        await self._tasks.stop()
        if self._opened is not None:
            opened, self._opened = self._opened, None
            self._health = None
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
        if self._opened is None:
            return self._encrypting
        waits = await self._opened.store.read(unfinished.any_open, self._clock.now_ms())
        return waits or self._opened.transfers.busy

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.keep(name, work, self.duties)
