"""One home and what opens it: it is made, unlocked, locked, encrypted anew and deleted, while the process goes on.

What of it is open, from the store to the network, is `opened.py`. The control socket is not part of either, because it
also answers for a home that has no identity or is closed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.errors import LockedError, NoIdentityError, UnavailableError, UsageError
from peerpost.node.files.transfers import Transfers
from peerpost.store import keyfile
from peerpost.store.db import rekey as rekeying
from peerpost.store.files.backup import Manifest
from peerpost.store.homelock import HomeLock

from . import deleting, logs, new_home, restoring
from .clock import Clock
from .deriving import Deriving
from .health import ControlSocket
from .new_home import ChosenSecrets
from .opened import Opened, OpenHome
from .protection import Protection, cost_of, is_protected
from .settings import Settings
from .tasks import Tasks

__all__ = ["Home"]

log = logging.getLogger(__name__)


async def _nothing() -> None:
    """End no requests: there are none."""


class Home:
    """A home whose lock this process holds; it is open or closed."""

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
        on_lost: Callable[[BaseException], None],
        end_requests: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Take what outlives its opening.

        `on_lost` is called with a failure that leaves nothing to serve. `end_requests` ends the requests that work
        with the open home, before it is locked.
        """
        self.path = path
        self._settings = settings
        self._clock = clock
        self._on_lost = on_lost
        self._end_requests = end_requests
        self._deriving = Deriving()
        self._protection = Protection(path, settings, self._deriving)
        self.open_home = OpenHome(
            path,
            settings,
            clock=clock,
            control=control,
            lock=lock,
            listen=listen,
            transfers_class=transfers_class,
            deriving=self._deriving,
            on_lost=on_lost,
        )
        self._opening = asyncio.Lock()
        """Held while it is made, opened or locked."""
        self._locked = self._locking = self._encrypting = False
        self._giving_up = threading.Event()
        """Ends what may take long, as far as it can be ended."""
        self._acts = Tasks()
        """What makes, opens and locks it: more than one life of the open home."""

    @property
    def open_now(self) -> Opened | None:
        """The open home, or None."""
        return None if self._locked or self._encrypting else self.open_home.opened

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
        return is_protected(self.path)

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
        if self.open_home.opened is None:
            if keyfile.exists(self.path):
                raise NoIdentityError(
                    "the keyfile has come back since the node began without it",
                    hint="peerpost node stop, and then again",
                )
            raise HomePaths(self.path).no_identity()
        return self.open_home.opened

    async def open(self, secret: bytes | None = None, *, closed: bool = False) -> None:
        """Open it if it has an identity; without a secret, one with a passphrase stays locked until `unlock`.

        With `closed` it is not even looked at, so that one that cannot be opened can be deleted.

        Raises StorageError if it cannot be opened, BadInputError if its keyfile is damaged, LockedError if the secret
        is wrong.
        """
        new_home.discard_half_made(self.path)
        restoring.settle(self.path)
        if not closed and keyfile.exists(self.path):
            await asyncio.to_thread(rekeying.recover, self.path)
            self._locked = keyfile.is_protected(self.path)
            logs.keep_discreet(discreet=self._locked)
            if not self._locked or secret is not None:
                await self._open(await self._key(() if secret is None else (secret,)))
                self._locked = False

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
                self.open_home.open_store,
                chosen,
                lambda: cost_of(self._settings.now),
                self._deriving,
                self._clock,
            )
            try:
                await self._open(key)
            except Exception as error:
                raise new_home.not_opened("the identity was made", error) from error
            await asyncio.wait([self.open_home.going_online()])

    def restoring(
        self, source_fd: int, secret: bytes
    ) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
        """Put an empty home back. Yield (bytes done, of how many), and at last what was put back.

        It stays closed: whoever starts next opens it. Raises what `Restoring.run` raises, with nothing changed.
        """
        return restoring.put_back(
            self.path, source_fd, secret, alone=self._opening, deriving=self._deriving
        )

    async def delete_identity(self) -> list[str]:
        """Make its keyfile unreadable, close it, and delete what is in it; return in words what stays.

        Raises NoIdentityError, StorageError.
        """
        return await self._acts.to_its_end(self._delete_identity(), name="delete-identity")

    async def _delete_identity(self) -> list[str]:
        async with self._opening:
            stays = await asyncio.to_thread(deleting.shred_key, self.path)
            self._locked = False
            await self.open_home.settled()
            await self.open_home.close()
            return stays + await asyncio.to_thread(deleting.delete_rest, self.path)

    async def unlock(self, secrets: Sequence[bytes]) -> None:
        """Open it, if it is locked, by one of these; it goes online by itself then.

        A home that is open stays so, and they are only tried; one without a passphrase is opened by anything.
        Raises LockedError if they are wrong or too many were, StorageError, NoIdentityError. It is as locked as
        before then, and nothing on the disk has changed.
        """
        await self._acts.to_its_end(self._unlock(secrets), name="unlock")

    async def _unlock(self, secrets: Sequence[bytes]) -> None:
        async with self._opening:
            if not self._locked:
                self.opened()
                if self.protected:
                    await self._protection.check(secrets)
                return
            await self._open(await self._protection.unlock(secrets))
            self._locked = False
            self.open_home.going_online()
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
        await self.open_home.settled()
        try:
            await self.open_home.end_streams()
            await self._end_requests()
            await self.open_home.close()
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
            await self.open_home.look_at_keyfile()
            log.info("the passphrase was changed")

    async def keep_in_keyring(self, secrets: Sequence[bytes], kept: bytes | None) -> None:
        """Let a secret that the keyring of the system keeps open it too, or none any more; it stays open, or locked.

        Raises as `change_secrets` does.
        """
        async with self._opening:
            self._require_identity()
            await self._protection.keep_in_keyring(secrets, kept)
            await self.open_home.look_at_keyfile()

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
        is_done = False
        try:
            await asyncio.to_thread(rekeying.rekey, self.path, key, made, on_progress)
        finally:
            try:
                is_done = keyfile.store_tag(self.path) == made.store
                await self._open(made.key if is_done else key)
                self._locked = False
                self.open_home.going_online()
            except Exception as error:
                # It is neither open nor locked: the next start finds out what there is.
                self._on_lost(error)
                if is_done:
                    raise new_home.not_opened("the passphrase was set or removed", error) from error
                raise

    async def _open(self, key: bytes) -> None:
        logs.keep_discreet(discreet=self.protected)
        await self.open_home.open(key)

    async def begin_anew(self, keys: Sequence[str]) -> None:
        """Make what is open follow the settings that have changed."""
        # Not while it is opened or closed: a duty that begins then would outlive the home.
        async with self._opening:
            if self.open_now is not None:
                await self.open_home.begin_anew(keys)

    def _require_identity(self) -> None:
        if not self._locked:
            self.opened()

    def give_up(self) -> None:
        """End what may take long and can be done again: a key that is derived, a copy of the store under another key.

        It is to be closed for good.
        """
        self._giving_up.set()
        self._deriving.give_up()

    async def close(self) -> None:
        """Close it: sessions end, what is written is on the disk, and nothing of it runs any more.

        What is being made, opened or locked is finished first, or given up.
        """
        self.give_up()
        async with self._opening:
            await self.open_home.close()
        await self._acts.stop()

    async def has_work(self) -> bool:
        """Return whether something is under way, waits to be sent, or a ticket may still be used."""
        return self._encrypting or await self.open_home.has_work()
