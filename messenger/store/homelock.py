"""One node for one home: a lock that the system releases when the process ends, in whatever way."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from peerpost import system
from peerpost.errors import AlreadyRunningError
from peerpost.system.processes import ProcessMark, this_process, who_is

from . import disk

__all__ = ["HomeLock"]


class HomeLock:
    """The lock on a home, for the length of a with block.

    Entering raises AlreadyRunningError, or StorageError if there can be no lock.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._fd = -1

    def __enter__(self) -> Self:
        if self._fd < 0:
            self.take()
        return self

    def take(self) -> None:
        """Lock the file that is there now, or a new one; this also replaces a lock file that was deleted.

        Raises AlreadyRunningError if another node has it, or StorageError.
        """
        with disk.errors(f"cannot lock the home by {self._path}"):
            fd = system.open_private(self._path, os.O_RDWR | os.O_CREAT)
            try:
                if not system.try_lock(fd):
                    raise AlreadyRunningError(
                        f"a node runs on this home already (process {_holder(fd)})",
                        hint="see it with: peerpost node status; end it with: peerpost node stop",
                    )
                os.ftruncate(fd, 0)
                os.write(fd, this_process().text().encode())
            except BaseException:
                os.close(fd)
                raise
        old, self._fd = self._fd, fd
        if old >= 0:
            os.close(old)

    @property
    def lost(self) -> bool:
        """Whether the locked file is no longer in its place, so that the lock keeps no other node out."""
        try:
            there, here = self._path.lstat(), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, here)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _holder(fd: int) -> str:
    """Name the holder from what it wrote, if the system allows reading a locked file."""
    try:
        text = os.read(fd, 512).decode(errors="replace")
    except OSError:
        text = ""
    return who_is(ProcessMark.parse(text))
