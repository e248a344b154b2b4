"""Waits for a disk that is full or failed: it is tried again automatically, and both sides know why nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from peerpost.errors import StorageError, StoreFullError
from peerpost.store.files.space import check_space

__all__ = ["RETRY_S", "Room", "said"]

RETRY_S = (2.0, 30.0)
"""The first and the longest wait until a write that failed is tried again."""


def said(error: BaseException) -> str:
    """Return what the sender is told. The full cause is about our disk and is not sent."""
    if isinstance(error, StoreFullError):
        return "the receiver's disk is full"
    if isinstance(error, StorageError):
        return "the receiver's disk does not take it for now"
    return "the receiver cannot go on for now"


class Room:
    """How long one incoming file waits for the disk, and for how much room."""

    def __init__(self, folder: Path, *, reserve: Callable[[], int]) -> None:
        self._folder, self._reserve = folder, reserve
        self._wait_s = RETRY_S[0]
        self._lacking_bytes: int | None = None
        """What it waits for, if the disk was full."""

    def wrote(self) -> None:
        """Note that the disk accepts writes."""
        self._wait_s = RETRY_S[0]

    def failed(self, error: BaseException, lacking_bytes: int) -> float:
        """Note that the disk failed, and how much the file needs to go on; return how long to wait."""
        self._lacking_bytes = lacking_bytes if isinstance(error, StoreFullError) else None
        return self.next_wait_s()

    def next_wait_s(self) -> float:
        """Return how long to wait now: longer each time."""
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, RETRY_S[1])
        return wait_s

    def may_try(self) -> bool:
        """Return whether trying may help. In vain, it would make the sender send a window for nothing."""
        if self._lacking_bytes is None:
            return True
        try:
            check_space(self._folder, self._lacking_bytes, reserve_bytes=self._reserve())
        except (StoreFullError, OSError):
            return False
        return True
