"""How open files get to a node to which no descriptor can be passed: as a path, which the node opens again.

Both ends check that it is the same file. A pipe has no path, so what comes from one must be in a file first.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from peerpost import system
from peerpost.errors import NoInputError, PeerpostError, StorageError, UsageError

__all__ = ["PathlessError", "handed_over", "taken_over"]

_MAX_PATH_BYTES = 1 << 16


class PathlessError(UsageError):
    """What is to be handed over has no path: nothing was asked of the node."""


def handed_over(fd: int) -> dict[str, Any]:
    """Return the description of an open file or folder for a request. Raises PathlessError if it has none."""
    status = os.fstat(fd)
    is_file = stat.S_ISREG(status.st_mode)
    path = system.path_of(fd) if is_file or stat.S_ISDIR(status.st_mode) else None
    if path is None:
        raise PathlessError(
            "a pipe, a terminal or a device cannot be handed to the node on this system",
            hint="put the input into a file first and name it; write to a file with --out FILE",
        )
    offset = 0
    if is_file:
        offset = status.st_size if system.appends(fd) else os.lseek(fd, 0, os.SEEK_CUR)
    return {
        "path_hex": os.fsencode(path).hex(),
        "offset": offset,
        "inode": [status.st_dev, status.st_ino],
    }


def taken_over(said: object, *, writes: bool) -> int:
    """Open the file that a request describes, for reading or writing, and return the descriptor.

    Raises ValueError for a malformed description, NoInputError or StorageError if it cannot be opened.
    """
    if not isinstance(said, dict):
        raise ValueError("no object")  # noqa: TRY004 - all of them are one to the caller
    path_hex, offset, inode = said.get("path_hex"), said.get("offset"), said.get("inode")
    if type(offset) is not int or not 0 <= offset < 1 << 63 or not isinstance(inode, list):
        raise ValueError("no offset or inode")
    if not isinstance(path_hex, str) or not 0 < len(path_hex) <= 2 * _MAX_PATH_BYTES:
        raise ValueError("no path")
    path = os.fsdecode(bytes.fromhex(path_hex))
    kind: type[PeerpostError] = StorageError if writes else NoInputError
    try:
        # If a named pipe has taken its place, opening it must not block.
        flags = system.O_NONBLOCK | system.O_NOFOLLOW | system.O_NOCTTY | system.OPEN
        fd = os.open(path, flags | (os.O_WRONLY if writes else os.O_RDONLY))
    except OSError as error:
        raise kind(f"cannot open the file again in the node: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if [status.st_dev, status.st_ino] != inode:
            raise kind("the file was replaced just now", hint="try again")
        if stat.S_ISREG(status.st_mode):
            os.lseek(fd, offset, os.SEEK_SET)
        elif not stat.S_ISDIR(status.st_mode):
            raise kind("the file was replaced just now", hint="try again")
    except BaseException:
        os.close(fd)
        raise
    return fd
