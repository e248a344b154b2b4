"""The standard streams of a process, in whatever state its caller has left them.

A stream may be closed, opened in the wrong direction, or a non-blocking pipe (O_NONBLOCK belongs to the pipe, and so to
everybody who has it). Its reader may be gone, or it may be a file on a full disk. One writer and one reader handle all
of that, and everything that prints or asks goes through them. `take_over` puts them in the place of Python's own
streams, which lose what a pipe does not accept at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from . import stopping
from .errors import NoInputError, StorageError
from .system import Ready

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "OutputError",
    "inherited",
    "read",
    "read_up_to",
    "take_over",
    "was_handed_over",
    "write_all",
]

_LEFT = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN})
_at_first: frozenset[int] | None = None
"""The descriptors that were open at `take_over`, if the system tells them."""
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


class OutputError(StorageError):
    """Something could not be printed, in part or at all."""

    line = ""
    """The text that should have been printed."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write: {error.strerror or error}")
        self.reader_left = error.errno in _LEFT


def write_all(fd: int, data: ReadableBuffer) -> None:
    """Write all of it, as fast as it is accepted. Raises OSError."""
    left = memoryview(data).cast("B")
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            Ready(writes=[fd]).wait()


def read(fd: int, size_bytes: int) -> bytes:
    """Wait for input and return up to `size_bytes` of it; empty at the end. Raises NoInputError."""
    while True:
        try:
            if os.isatty(fd):
                _wait_for_keys(fd)
            return os.read(fd, size_bytes)
        except BlockingIOError:
            Ready(reads=[fd]).wait()
        except OSError as error:
            raise NoInputError(f"cannot read the input: {error.strerror or error}") from None


def _wait_for_keys(fd: int) -> None:
    """Wait until there is something to read at a terminal, or a signal ends the command.

    The handler of a signal that comes just before read(2) begins is called only when the read ends. A pipe keeps it.
    """
    signals_fd = stopping.signals_fd()
    while signals_fd is not None and not Ready(reads=[fd]).wait(0):
        Ready(reads=[fd, signals_fd]).wait()
        with suppress(BlockingIOError):
            os.read(signals_fd, 64)


def read_up_to(fd: int, size_bytes: int) -> bytes:
    """Return `size_bytes` of an input, or all of it if there is less. Raises NoInputError."""
    data = b""
    while len(data) < size_bytes and (part := read(fd, size_bytes - len(data))):
        data += part
    return data


def take_over() -> None:
    """Replace Python's own streams by ones that lose nothing; call it once, before anything else is opened.

    A closed descriptor is opened in the wrong direction. It then still fails when it is used, but no file or socket
    that is opened later can get its number, and with it what is printed.
    """
    global _at_first  # noqa: PLW0603 - of this process
    _at_first = _open_now()
    for fd, wrong_way in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, wrong_way), True)
    # A terminal that is not UTF-8 shows what it lacks as \u escapes instead of failing.
    escaped = "backslashreplace"
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_Input(0)), _encoding(sys.stdin), "replace")
    sys.stdout = io.TextIOWrapper(_Output(1), _encoding(sys.stdout), escaped)
    sys.stderr = io.TextIOWrapper(_Output(2), _encoding(sys.stderr), escaped, line_buffering=True)


def _encoding(stream: TextIO | None) -> str:
    """Return the encoding of one of Python's streams, which is None if it was closed."""
    return "utf-8" if stream is None else stream.encoding


class _Stream(io.RawIOBase):
    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def name(self) -> int:
        return self._fd

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)


class _Output(_Stream):
    """Raises OutputError. For stderr it does not: nobody could be told, and nothing else should fail because of it."""

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            write_all(self._fd, data)
        except OSError as error:
            if self._fd != 2:
                raise OutputError(error) from None
        return memoryview(data).nbytes


class _Input(_Stream):
    def readable(self) -> bool:
        return True

    def readinto(self, room: WriteableBuffer, /) -> int:
        view = memoryview(room).cast("B")
        data = read(self._fd, len(view))
        view[: len(data)] = data
        return len(data)


def inherited(path: str) -> int | None:
    """Return which descriptor of this process a path means (`/dev/stdout`, `/dev/fd/3`), or None for a path proper.

    Opening such a path would give another descriptor, which begins at the start of a file, and fails for a socket. A
    link that somebody else has made does not count.
    """
    where = Path(path)
    if path in _STREAMS:
        return _STREAMS[path]
    try:
        folder = str(where.absolute().parent.resolve(strict=True))
    except (OSError, RuntimeError, ValueError):
        return None
    own = ("/dev/fd", f"/proc/{os.getpid()}/fd")
    name = where.name
    if folder not in own and not (
        folder.startswith(f"/proc/{os.getpid()}/task/") and folder.endswith("/fd")
    ):
        return None
    if not (name.isascii() and name.isdecimal() and len(name) < 8 and name == str(int(name))):
        return None
    fd = int(name)
    return fd if was_handed_over(fd) else None


def was_handed_over(fd: int) -> bool:
    """Return whether a descriptor was open when this process began, and still is.

    One that was opened since is ours: whoever names its number means something else, which is not there.
    """
    return _is_open(fd) and (_at_first is None or fd in _at_first)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except (OSError, OverflowError):
        return False
    return True


def _open_now() -> frozenset[int] | None:
    """Return the descriptors that are open, or None where the system does not tell."""
    try:
        names = [path.name for path in Path("/dev/fd").iterdir()]
    except OSError:
        return None
    return frozenset(fd for fd in map(int, filter(str.isdecimal, names)) if _is_open(fd))
