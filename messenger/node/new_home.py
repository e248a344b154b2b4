"""A new home: its key and its first store are made so that either both exist or none.

The store is made under another name and renamed at the end. While the other name exists, the home is half made: its key
opens nothing of value, and both are removed, at once or at the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from peerpost.client.config import Storage
from peerpost.client.paths import HomePaths
from peerpost.crypto.passphrase import Cost
from peerpost.errors import ExistsError, StoreFullError, UnavailableError
from peerpost.node.contact.addresses import free_port
from peerpost.store import disk, keyfile
from peerpost.store.db.engine import Store
from peerpost.store.tables import identity

from .causes import cause_of
from .clock import Clock
from .deriving import Deriving, MayWrite

__all__ = ["ChosenSecrets", "discard_half_made", "make", "not_opened", "open_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSecrets:
    """What a new home can be opened with; with neither, its keyfile holds the key in clear."""

    passphrase: bytes | None = None
    recovery: bytes | None = None
    """The bytes of a recovery code."""


async def make(
    home: Path,
    name: str,
    open_store: Callable[[Path, bytes], Awaitable[Store]],
    chosen: ChosenSecrets,
    cost: Callable[[], Cost],
    deriving: Deriving,
    clock: Clock,
) -> bytes:
    """Make the identity of an empty home, and return its key. `cost` measures what a try of a passphrase costs.

    Raises ExistsError if there is one, NoIdentityError if its keyfile is gone, UnavailableError if the derivation is
    given up, StorageError.
    """
    paths = HomePaths(home)
    if keyfile.exists(home):
        raise ExistsError(
            "this home has an identity already",
            hint="see it with: peerpost identity show; another home: --home DIR",
        )
    if paths.store.exists():
        raise paths.no_identity()
    half = _half(paths)
    try:
        with disk.errors("cannot make the store"):
            half.touch(0o600)
            disk.sync_folder(home)
        key = await _keyfile_for(home, chosen, cost, deriving)
        store = await open_store(half, key)
        try:
            await store.write(identity.create, name, free_port(), clock.now_ms())
        finally:
            await store.close()
        _require_whole(half)
        with disk.errors("cannot make the store"):
            half.rename(paths.store)
            disk.sync_folder(home)
    except BaseException:
        discard_half_made(home)
        raise
    return key


async def _keyfile_for(
    home: Path, chosen: ChosenSecrets, cost: Callable[[], Cost], deriving: Deriving
) -> bytes:
    """Write the keyfile and return its key; with a passphrase this takes a second or a few."""

    def make_it(may_write: MayWrite) -> bytes:
        return keyfile.create(
            home,
            passphrase=chosen.passphrase,
            recovery=chosen.recovery,
            cost=None if chosen.passphrase is None else cost(),
            may_write=may_write,
        )

    return await deriving.run(make_it)


def _require_whole(store: Path) -> None:
    """Raise StoreFullError if what was committed lies in the log, because the store had no room to take it."""
    log = store.with_name(f"{store.name}-wal")
    if log.exists() and log.stat().st_size > 0:
        raise StoreFullError(
            "the disk is full: there is no room for a store",
            hint="free some space on the disk of the home folder; nothing was made",
        )


def discard_half_made(home: Path) -> None:
    """Make a home empty again whose making was interrupted. Raises StorageError."""
    half = _half(HomePaths(home))
    if not half.exists():
        return
    keyfile.discard(home)
    with disk.errors("cannot remove what is left of a new store"):
        for found in (*home.glob(f"{half.name}-*"), half):
            found.unlink(missing_ok=True)


def _half(paths: HomePaths) -> Path:
    return paths.store.with_name("store.new")


def not_opened(done: str, error: Exception) -> UnavailableError:
    """Return the error for something that was done, in a home that cannot be opened now."""
    return UnavailableError(
        f"{done}, but the home cannot be opened now: {cause_of(error)}",
        hint="try: peerpost identity show; a recovery code, where it has a passphrase, comes from: peerpost identity"
        " passphrase change --new-recovery-code",
    )


async def open_store(path: Path, key: bytes, storage: Storage) -> Store:
    """Open the store of a home, and make it if it is not there. Raises StorageError."""
    # SQLite makes its log with the rights that it finds here, which an earlier umask of 0 may have given to all.
    with disk.errors(f"cannot close {path} to others"):
        for file in path.parent.glob(f"{path.name}*"):
            file.chmod(0o600)
    return await Store.open(
        path,
        key,
        loop=asyncio.get_running_loop(),
        ballast_bytes=storage.ballast,
        min_free_bytes=storage.min_free,
    )
