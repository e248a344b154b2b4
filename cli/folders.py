"""Folders by descriptor: what is made in a folder is made there, even if its path has changed meanwhile.

The kernel resolves a path anew at each call, through every link that somebody may have put into it. An open folder
stays the same folder, and each name below it is a single component and never followed if it is a link.

On a system without such calls (Windows), each folder is checked before it is used, and refused if it is a link, a
junction or another reparse point.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Self

from peerpost import system

__all__ = ["Folder"]

_FOLDER_FLAGS = os.O_RDONLY | system.O_DIRECTORY | system.O_NOFOLLOW | system.OPEN
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.O_NOFOLLOW | system.OPEN
_REPARSE_POINT = 0x400


class Folder:
    """An open folder. Every name given to it is one component. Raises OSError."""

    def __init__(self, fd: int | None, path: str) -> None:
        """Take ownership of the descriptor; the path is used only if there is none."""
        self._fd = fd
        self._path = path

    @classmethod
    def open(cls, path: str | Path, *, follow: bool = False) -> Self:
        """Open a folder by the path that the user gave, by default none that is itself a link."""
        if not system.BY_FOLDER:
            if not follow:
                _refuse_link(os.lstat(path), path)
            return cls(None, os.path.abspath(path))  # noqa: PTH100 - it must not resolve links
        flags = _FOLDER_FLAGS & ~(system.O_NOFOLLOW if follow else 0)
        return cls(os.open(path, flags), str(path))

    def folder(self, name: str) -> Folder:
        """Open a folder in this one; a link raises NotADirectoryError."""
        path = str(Path(self._path, name))
        if self._fd is None:
            _refuse_link(os.lstat(path), path)
            return Folder(None, path)
        try:
            return Folder(os.open(name, _FOLDER_FLAGS, dir_fd=self._fd), path)
        except OSError as error:
            if error.errno in (errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)):
                raise NotADirectoryError(errno.ENOTDIR, "Is a link", path) from None
            raise

    def descend(self, names: list[str]) -> Folder:
        """Open a folder below this one, step by step."""
        here = self.again()
        for name in names:
            try:
                below = here.folder(name)
            finally:
                here.close()
            here = below
        return here

    def again(self) -> Folder:
        """Return this folder a second time, to be closed separately."""
        return Folder(None if self._fd is None else os.dup(self._fd), self._path)

    def descriptor(self) -> int | None:
        """Return a descriptor that the caller must close, if the system has folder descriptors."""
        return None if self._fd is None else os.dup(self._fd)

    def close(self) -> None:
        """Close it. Closing twice is harmless."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._path = os.devnull

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, name: str) -> str:
        return name if self._fd is not None else str(Path(self._path, name))

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of a name without following a link; None if there is nothing."""
        try:
            return os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Return the names in it, sorted."""
        return sorted(os.listdir(self._path if self._fd is None else self._fd))  # noqa: PTH208 - by fd

    def make(self, name: str, mode: int = 0o777) -> None:
        """Make a folder."""
        os.mkdir(self._at(name), mode, dir_fd=self._fd)

    def create(self, name: str, mode: int) -> int:
        """Make a file and return its descriptor. Fails if anything has that name."""
        return os.open(self._at(name), _NEW_FLAGS, mode, dir_fd=self._fd)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link."""
        os.symlink(target, self._at(name), dir_fd=self._fd)

    def move(self, name: str, to: Folder, new_name: str) -> None:
        """Move something to another folder. A file or link of the new name is replaced itself, not followed."""
        os.replace(self._at(name), to._at(new_name), src_dir_fd=self._fd, dst_dir_fd=to._fd)

    def remove_tree(self, name: str) -> None:
        """Remove a folder and everything in it, as far as possible, without following links."""
        if self._fd is None:
            shutil.rmtree(self._at(name), ignore_errors=True)
        else:
            shutil.rmtree(name, ignore_errors=True, dir_fd=self._fd)

    def sync(self) -> None:
        """Make its names, rights and time survive a power cut; Windows does that by itself."""
        if self._fd is not None:
            system.fsync(self._fd)

    def set_mode(self, mode: int) -> None:
        """Set the rights of the folder itself exactly; the umask does not apply."""
        os.chmod(self._path if self._fd is None else self._fd, mode)  # noqa: PTH101 - by fd

    def set_time(self, mtime: float) -> None:
        """Set the modification time of the folder itself."""
        os.utime(self._path if self._fd is None else self._fd, (mtime, mtime))


def _refuse_link(status: os.stat_result, path: str | Path) -> None:
    reparse = getattr(status, "st_file_attributes", 0) & _REPARSE_POINT
    if reparse or not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "Is no plain folder", str(path))
