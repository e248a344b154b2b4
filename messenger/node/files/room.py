"""Waits for a disk that is full or failed: it is tried again automatically, and both sides know why nothing moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from peerpost.errors import StorageError, StoreFullError
from peerpost.store.files.space import check_space

__all__ = ["RETRY_S", "Room", "said"]

RETRY_S = (2.0, 30.0)
"""The first and the longest wait until a write that failed is tried again."""


def said(error: Exception) -> str:
    """Return what the sender is told. The full cause is about our disk and is not sent."""
    if isinstance(error, StoreFullError):
        return "the receiver's disk is full"
    if isinstance(error, StorageError):
        return "the receiver's disk does not take it for now"
    return "the receiver cannot go on for now"


class Room:
    """The waiting of one incoming file for the disk."""

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder, self._reserve_bytes = folder, reserve_bytes
        self._wait_s = RETRY_S[0]

    def wrote(self) -> None:
        """Note that the disk accepts writes."""
        self._wait_s = RETRY_S[0]

    async def wait(
        self, error: Exception, lacking_bytes: int, give_up: asyncio.Event | None = None
    ) -> None:
        """Return when it is time to try again: after a while, and if the disk was full, when the rest has room.

        Trying in vain would make the sender send a window for nothing. Returns at once when `give_up` is set.
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
