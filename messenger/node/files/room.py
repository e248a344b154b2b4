"""Waiting for a disk that did not take what came: tried again by itself, and both sides know why nothing moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from peerpost.errors import StorageError, StoreFullError
from peerpost.store.files.space import check_space

__all__ = ["RETRY_S", "Room", "said"]

RETRY_S = (2.0, 30.0)
"""What the disk did not take is tried again after so long, at first and at most."""


def said(error: Exception) -> str:
    """Return what the sender reads: the cause in full is of our disk, and stays here."""
    if isinstance(error, StoreFullError):
        return "the receiver's disk is full"
    if isinstance(error, StorageError):
        return "the receiver's disk does not take it for now"
    return "the receiver cannot go on for now"


class Room:
    """What the disk has for one file that comes."""

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder, self._reserve_bytes = folder, reserve_bytes
        self._wait_s = RETRY_S[0]

    def wrote(self) -> None:
        """Note that the disk takes it."""
        self._wait_s = RETRY_S[0]

    async def wait(
        self, error: Exception, lacking_bytes: int, give_up: asyncio.Event | None = None
    ) -> None:
        """Return when to try again: after a while, and if the disk was full not before what lacks has room.

        To try in vain has the sender send a window for nothing. Returns at once when `give_up` is set.
        """
        while give_up is None or not give_up.is_set():
            await _sleep(self._wait_s, give_up)
            self._wait_s = min(2 * self._wait_s, RETRY_S[1])
            if not isinstance(error, StoreFullError) or self._fits(lacking_bytes):
                return

    def _fits(self, size_bytes: int) -> bool:
        try:
            check_space(self._folder, size_bytes, reserve_bytes=self._reserve_bytes)
        except (StoreFullError, OSError):
            return False
        return True


async def _sleep(wait_s: float, give_up: asyncio.Event | None) -> None:
    if give_up is None:
        await asyncio.sleep(wait_s)
        return
    try:
        async with asyncio.timeout(wait_s):
            await give_up.wait()
    except TimeoutError:
        pass
