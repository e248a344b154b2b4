"""What is in a folder that is sent: names, kinds, sizes and times, as it was when it was queued.

    manifest = magic *node
    node     = kind u8, path length u16, link length u16, mode u32, size u64, mtime_ns i64, inode u64,
               ctime_ns i64 (little-endian), path, link

Manifests of `folder 1`, which an earlier version may have queued, have no ctime_ns. That is the time of
the last change of any kind; unlike mtime, nobody can set it back.

A path is relative to the folder, in bytes as the system has them. The folder itself has the empty path
and comes first; what is in a folder comes after it. Symbolic links are never followed, and are included
only if they stay within the folder.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from peerpost import system
from peerpost.errors import BadInputError, NoInputError
from peerpost.raw_bytes import shown

from .names import stays_within

__all__ = [
    "FILE",
    "FOLDER",
    "LINK",
    "MAX_MANIFEST_BYTES",
    "FolderEntry",
    "Scan",
    "nodes",
    "scan",
]

MAX_MANIFEST_BYTES: Final = 32 << 20
"""Enough for a quarter of a million files with names of usual length. It is held in memory while they are sent."""
MAX_SKIPPED: Final = 1000
"""How many names of files that are not sent are remembered."""
_MAGIC: Final = b"peerpost folder 2\n"
_NODE: Final = struct.Struct("<BHHIQqQq")
_OLD_MAGIC: Final = b"peerpost folder 1\n"
_OLD_NODE: Final = struct.Struct("<BHHIQqQ")
FILE, FOLDER, LINK = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEntry:
    """One thing in a folder."""

    kind: int
    path: bytes
    link: bytes = b""
    """Of a LINK: where it points."""
    mode: int
    """Permissions, without setuid and the like."""
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What was found."""

    manifest: bytes
    files: int
    """Files and links, folders not counted."""
    skipped: list[str]
    """What is not sent, with the reason."""


def nodes(manifest: bytes, at: int = len(_MAGIC)) -> Iterator[tuple[int, FolderEntry]]:
    """Yield (place in the manifest, node) from a place on."""
    layout = _OLD_NODE if manifest.startswith(_OLD_MAGIC) else _NODE
    while at < len(manifest):
        kind, path_len, link_len, mode, size, mtime_ns, inode, *ctime_ns = layout.unpack_from(
            manifest, at
        )
        start = at + layout.size
        path = manifest[start : start + path_len]
        link = manifest[start + path_len : start + path_len + link_len]
        yield (
            at,
            FolderEntry(
                kind=kind,
                path=path,
                link=link,
                mode=mode,
                size=size,
                mtime_ns=mtime_ns,
                inode=inode,
                ctime_ns=ctime_ns[0] if ctime_ns else None,
            ),
        )
        at = start + path_len + link_len


def scan(folder_fd: int, besides: Collection[tuple[int, int]] = ()) -> Scan:
    """List an open folder, leaving out the files of the home, given as `besides` by device and inode.

    Raises NoInputError naming what cannot be read, BadInputError if too much.
    """
    found = bytearray(_MAGIC)
    skipped: list[str] = []
    files = 0
    found += _packed(b"", os.fstat(folder_fd), FOLDER)
    waiting: list[bytes] = [b""]
    while waiting:
        folder = waiting.pop()
        inner = []
        for name, status in _entries(folder_fd, folder):
            path = os.path.join(folder, name)  # noqa: PTH118 - bytes
            kind, link, why_not = _judge(folder_fd, path, status)
            if (status.st_dev, status.st_ino) in besides:
                why_not = "it is your Peerpost home"
            if why_not is not None:
                if len(skipped) < MAX_SKIPPED:
                    skipped.append(f"{shown(path)} ({why_not})")
                continue
            found += _packed(path, status, kind, link)
            files += kind != FOLDER
            if kind == FOLDER:
                inner.append(path)
            if len(found) > MAX_MANIFEST_BYTES:
                raise BadInputError(
                    "there are too many files in the folder to send it as one",
                    hint="pack it: tar -c FOLDER | peerpost send --contact NAME --name X.tar -",
                )
        waiting += reversed(inner)
    return Scan(manifest=bytes(found), files=files, skipped=skipped)


def _packed(path: bytes, status: os.stat_result, kind: int, link: bytes = b"") -> bytes:
    size = status.st_size if kind == FILE else 0
    mode = stat.S_IMODE(status.st_mode) & 0o777
    times = (status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    return _NODE.pack(kind, len(path), len(link), mode, size, *times) + path + link


def _entries(folder_fd: int, folder: bytes) -> list[tuple[bytes, os.stat_result]]:
    flags = os.O_RDONLY | system.O_DIRECTORY | system.O_NOFOLLOW | system.OPEN
    try:
        fd = os.open(folder or b".", flags, dir_fd=folder_fd)
        try:
            with os.scandir(fd) as listing:
                return sorted(
                    (os.fsencode(entry.name), entry.stat(follow_symlinks=False))
                    for entry in listing
                )
        finally:
            os.close(fd)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _judge(folder_fd: int, path: bytes, status: os.stat_result) -> tuple[int, bytes, str | None]:
    """Return the kind of an entry, where it links to, and why it is not sent, if so."""
    if stat.S_ISDIR(status.st_mode):
        return FOLDER, b"", None
    try:
        if stat.S_ISREG(status.st_mode):
            if not os.access(path, os.R_OK, dir_fd=folder_fd):
                raise PermissionError(13, "permission denied")
            return FILE, b"", None
        if stat.S_ISLNK(status.st_mode):
            link = os.readlink(path, dir_fd=folder_fd)
            inside = stays_within(os.fsdecode(link), path.count(b"/"))
            return LINK, link, None if inside else "links to outside the folder"
    except OSError as error:
        raise _unreadable(path, error) from error
    return 0, b"", "neither a file, a folder nor a link"


def _unreadable(path: bytes, error: OSError) -> NoInputError:
    name = shown(path) or "the folder"
    return NoInputError(
        f"{name} cannot be read: {error.strerror or error}", hint="nothing was sent"
    )
