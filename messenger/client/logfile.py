"""The log of a node in the background: bounded, rotated while it runs, and never a reason to stop.

    node.log, node.log.1, node.log.2, node.log.3        the newest first

The file is the node's stderr, so that it also gets what libraries and the interpreter print. Rotating puts another file
under that descriptor. After each step there is a log that is written to. If a step fails, for example on a full disk,
it is tried again later, and the old file is used until then.
"""

from __future__ import annotations

import mmap
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from peerpost.system import open_plain, open_private

__all__ = ["KEPT", "LIMIT_BYTES", "NAMES_CONTACTS", "LogFile", "in_clear", "rotate"]

LIMIT_BYTES = 10 << 20
"""A log of this length becomes node.log.1, unless the configuration says otherwise."""
KEPT = 3
"""Older logs that stay."""
LOOK_S = 5.0
"""How often to check whether the file is still in its place."""
RETRY_S = 30.0
"""After this long a rotation that failed is tried again."""
NAMES_CONTACTS: Final = "this log names contacts, because the home has no passphrase"
"""A line of each log in which whoever finds the disk could read names, addresses and times."""
_MARKS: Final = (NAMES_CONTACTS.encode(), b"peerpost: ready as 12D3")
"""By these such a log is known; the second one is a line of earlier versions, with the peer id."""


def in_clear(path: Path) -> list[Path]:
    """Return the logs of a home, which lie at `path` and beside it, that name contacts."""
    return [found for found in sorted(path.parent.glob(f"{path.name}*")) if _is_in_clear(found)]


def _is_in_clear(path: Path) -> bool:
    # What is no plain file, cannot be read or is empty cannot be mapped.
    with (
        suppress(OSError, ValueError),
        open_plain(path) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
    ):
        return any(text.find(mark) >= 0 for mark in _MARKS)
    return False


def rotate(path: Path, kept: int) -> None:
    """Move each log one further, and drop the oldest. Raises OSError, with the newest still in its place.

    `path` is free afterwards.
    """
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, kept + 1))]
    if not kept:
        path.unlink()
    # The newest is moved last: if anything fails before, it is still in its place.
    for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
        with suppress(FileNotFoundError):
            newer.replace(older)


class LogFile:
    """The file that this process has as its stderr."""

    def __init__(
        self, path: Path, fd: int, *, limit_bytes: int = LIMIT_BYTES, kept: int = KEPT
    ) -> None:
        """Manage the log that is written to `fd`, which is the file at `path`."""
        self._path = path
        self._fd = fd
        self._limit_bytes = limit_bytes
        self._kept = kept
        self._look_after_s = 0.0
        self._retry_after_s = 0.0
        self._left_out = 0
        self.first_line: str | None = None
        """What each further file begins with."""

    @classmethod
    def of_stderr(cls, path: Path, *, limit_bytes: int, kept: int) -> LogFile | None:
        """Return the log of a node in the background; None if stderr is something else."""
        made = cls(path, 2, limit_bytes=limit_bytes, kept=kept)
        return made if made.is_in_place else None

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is written to still has this name."""
        try:
            there, here = self._path.lstat(), os.fstat(self._fd)
        except OSError:
            return False
        return os.path.samestat(there, here)

    def write(self, line: str) -> None:
        """Write a line, and rotate if it is time. A line that cannot be written is counted and reported later."""
        self._look()
        if self._left_out:
            line = f"{self._left_out} lines of the log could not be written\n{line}"
        data = memoryview(f"{line}\n".encode(errors="backslashreplace"))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self._left_out += 1
        else:
            self._left_out = 0

    def _look(self) -> None:
        now_s = time.monotonic()
        if now_s < self._retry_after_s:
            return
        try:
            if os.fstat(self._fd).st_size >= self._limit_bytes:
                self._begin_another(full=True)
            elif now_s >= self._look_after_s:
                self._look_after_s = now_s + LOOK_S
                if not self.is_in_place:
                    self._begin_another(full=False)
        except OSError:
            self._retry_after_s = now_s + RETRY_S

    def _begin_another(self, *, full: bool) -> None:
        """Make the next line go to a new file. Raises OSError, with everything as it was."""
        # The new file is made first, under another name: if that fails, the old one must stay in its place.
        draft = self._path.with_name(f"{self._path.name}.new")
        new = open_private(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        try:
            if self.first_line is not None:
                os.write(new, f"{self.first_line}\n".encode(errors="backslashreplace"))
            if full and self.is_in_place:
                rotate(self._path, self._kept)
            draft.replace(self._path)
            self._put_under(new)
        finally:
            os.close(new)
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _put_under(self, new: int) -> None:
        here = os.fstat(self._fd)
        for fd in (1, 2) if self._fd == 2 else (self._fd,):
            with suppress(OSError):
                if os.path.samestat(os.fstat(fd), here):
                    os.dup2(new, fd)
