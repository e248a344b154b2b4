"""A new home: its key and its first store, made so that it is there as a whole, or not at all.

The store is made under another name and gets its own at the end. While that other name is there the home is half
made: its key opens nothing of worth, and both are discarded, at once or by the next start.
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

from .clock import now_ms

__all__ = ["discard_half_made", "make"]


async def make(
    home: Path, name: str, open_store: Callable[[Path, bytes], Awaitable[Store]]
) -> None:
    """Make the identity of an empty home.

    Raises ExistsError where there is one, NoIdentityError where its keyfile is gone, StorageError.
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
            await store.write(identity.create, name, free_port(), now_ms())
        finally:
            await store.close()
        with disk.errors("cannot make the store"):
            half.rename(paths.store)
            disk.sync_folder(home)
    except BaseException:
        discard_half_made(home)
        raise


def discard_half_made(home: Path) -> None:
    """Have a home whose making was cut off be a new one again. Raises StorageError."""
    half = _half(HomePaths(home))
    if not half.exists():
        return
    keyfile.discard(home)
    with disk.errors("cannot remove what is left of a new store"):
        for found in (*home.glob(f"{half.name}-*"), half):
            found.unlink(missing_ok=True)


def _half(paths: HomePaths) -> Path:
    return paths.store.with_name("store.new")
