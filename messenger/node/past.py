"""What a store that is opened says of the time before: that it came out of a backup, or its keyfile is an older one."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from peerpost.errors import PeerpostError
from peerpost.store import keyfile
from peerpost.store.db.engine import Store
from peerpost.store.tables import backups

from .clock import Clock

__all__ = ["look", "look_at_keyfile"]

log = logging.getLogger(__name__)


async def look(store: Store, home: Path, clock: Clock) -> bool:
    """Note it if the home was put back from a backup. Return whether its keyfile is older than the store knows."""
    if await store.write(backups.take_mark, clock.now_ms()):
        log.warning("this home was put back from a backup; each contact is told when it is met")
    return await look_at_keyfile(store, home)


async def look_at_keyfile(store: Store, home: Path) -> bool:
    """Keep the newest generation of the keyfile. Return whether the one that is there is older than that."""
    with suppress(PeerpostError):  # A keyfile that was deleted or damaged since is said elsewhere.
        generation = keyfile.describe(home).generation
        return await store.write(backups.is_older_keyfile, generation)
    return False
