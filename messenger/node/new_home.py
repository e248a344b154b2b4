"""A new home: its key and its first store are made so that either both exist or none.

The store is made under another name and renamed at the end. While the other name exists, the home is half made: its key
opens nothing of value, and both are removed, at once or at the next start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.errors import ExistsError
from peerpost.node.contact.addresses import free_port
from peerpost.store import disk, keyfile
from peerpost.store.db.engine import Store
from peerpost.store.tables import identity

from .clock import Clock

__all__ = ["discard_half_made", "make"]


async def make(
    home: Path, name: str, open_store: Callable[[Path, bytes], Awaitable[Store]], clock: Clock
) -> None:
    """Make the identity of an empty home.

    Raises ExistsError if there is one, NoIdentityError if its keyfile is gone, StorageError.
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
        store = await open_store(half, keyfile.create(home))
        try:
            await store.write(identity.create, name, free_port(), clock.now_ms())
        finally:
            await store.close()
        with disk.errors("cannot make the store"):
            half.rename(paths.store)
            disk.sync_folder(home)
    except BaseException:
        discard_half_made(home)
        raise


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
