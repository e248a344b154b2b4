"""One node for one home: a lock that the system lets go when the process is gone, however it went."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from peerpost import system
from peerpost.errors import AlreadyRunningError

__all__ = ["HomeLock"]


class HomeLock:
    """The lock on a home, for the length of a with block. Raises AlreadyRunningError on entry."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._fd = -1

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        fd = os.open(self._path, flags, 0o600)
        if not system.try_lock(fd):
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise AlreadyRunningError(
                f"a node runs on this home already (process {holder})",
                hint="see it with: peerpost node status; end it with: peerpost node stop",
            )
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
