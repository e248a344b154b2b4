"""Who owns folders and files, and whether nobody else may read them."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import sys
from pathlib import Path

from peerpost.errors import CannotCreateError, LockedError

from .files import is_read_only

__all__ = [
    "allow_as_user",
    "check_access",
    "check_owner",
    "check_private_file",
    "close_new_files",
    "data_folder",
    "home_folder",
    "is_credential",
    "is_mine",
    "no_access",
    "owns",
    "private_dir",
    "user_id",
]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_users_mask: int | None = None
"""The umask of whoever started this process, since `close_new_files`."""


def user_id() -> int:
    """Return the number of the user whose rights this process has; always 0 on Windows, which has no such numbers."""
    if sys.platform == "win32":
        return 0
    return os.geteuid()


def owns(status: os.stat_result) -> bool:
    """Return whether a file or folder is this user's. Always true on Windows."""
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def is_mine(status: os.stat_result) -> bool:
    """Return whether a file or folder is this user's and closed to others. Always true on Windows."""
    if sys.platform == "win32":
        return True
    return owns(status) and not status.st_mode & _OTHERS


def is_credential(path: str, status: os.stat_result) -> bool:
    """Return whether a file is one that systemd gives to this service: directly in `$CREDENTIALS_DIRECTORY`.

    In a system service with `User=` such a file is root's, and an ACL lets the user read it. The mode then shows what
    the ACL grants at most in place of the group's rights (0440), so the group's right to read means nothing here.
    """
    named = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not os.path.isabs(named):  # noqa: PTH117 - empty where no service manager has set it
        return False
    try:
        folder = os.stat(named)  # noqa: PTH116
        is_there = os.path.samestat(folder, os.stat(os.path.dirname(path) or "."))  # noqa: PTH116, PTH120
    except (OSError, ValueError):
        return False
    writable = stat.S_IWGRP | stat.S_IWOTH
    return (
        is_there
        and (folder.st_uid == 0 or owns(folder))
        and not folder.st_mode & writable
        and (status.st_uid == 0 or owns(status))
        and not status.st_mode & (writable | stat.S_IRWXO)
    )


def data_folder() -> str | None:
    """Return the folder in which programs keep their data; None on systems where the environment names it (XDG)."""
    if sys.platform == "darwin":
        return "~/Library/Application Support"
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    return None


def home_folder() -> Path:
    """Return this user's folder as the system knows it, whatever HOME says. Raises KeyError."""
    if sys.platform == "win32":
        return Path.home()
    import pwd

    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def private_dir(path: Path) -> None:
    """Make a folder for this user alone, or check one that is there.

    Raises LockedError if others may read it or own it, or this user may not use it, and CannotCreateError if it cannot
    be made.
    """
    check_owner(path)
    try:
        _make_private(path)
    except OSError as error:
        raise CannotCreateError(
            f"cannot make the folder {path}: {error.strerror}",
            hint="choose another with --home DIR or PEERPOST_HOME",
        ) from None
    if sys.platform == "win32":
        return
    status = path.stat()
    if status.st_mode & _OTHERS:
        raise LockedError(
            f"others may read the folder {path}", hint=f"close it with: chmod 700 {path}"
        )
    check_access(path)


def check_access(path: Path) -> None:
    """Check that this user may list, change and enter a folder that is there.

    Raises LockedError. A read-only file system passes, because it is not the rights that are missing.
    """
    why = no_access(path)
    if why is None or sys.platform == "win32":
        return
    raise LockedError(why, hint=f"open it to you: chmod u+rwx {shlex.quote(os.fspath(path))}")


def no_access(path: Path) -> str | None:
    """Return in words which right is missing to use a folder; None if none is, or it is not there."""
    rights = ((os.R_OK, "read"), (os.W_OK, "written"), (os.X_OK, "entered"))
    missing = [word for right, word in rights if not os.access(path, right)]
    if not missing or not os.path.isdir(path):  # noqa: PTH112 - it fails if a folder above is closed
        return None
    if missing == ["written"] and is_read_only(path):
        return None
    return f"the folder {path} may not be {' or '.join(missing)}"


def check_owner(path: Path) -> None:
    """Check that a folder is ours, or would be ours if we made it. Touches nothing.

    Root may write anywhere, but the owner of a home could not open what root made in it. Raises LockedError.
    """
    if sys.platform == "win32":
        return
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    try:
        owner, mine = there.stat().st_uid, os.geteuid()
    except OSError:
        # Making the folder will fail and say why.
        return
    if owner != mine and (there == path or mine == 0):
        name = _name_of(owner)
        who = f", and this is {_name_of(mine)}" if mine == 0 else ""
        again = f"run it as {name} (sudo -u {name} peerpost ...)"
        if owner == 0:
            # Most likely a command under sudo made it.
            again = f"if it is to be yours: sudo chown -R {_name_of(mine)} {there}"
        raise LockedError(
            f"the folder {there} belongs to another user ({name}){who}",
            hint=f"{again}; or choose a home of your own: --home DIR",
        )


def _name_of(number: int) -> str:
    if sys.platform == "win32":
        return str(number)
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def _make_private(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone, whatever the umask."""
    if path.is_dir():
        return
    if not path.parent.exists():
        _make_private(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def check_private_file(path: Path) -> None:
    """Check that a file is a plain one, ours and closed to others.

    Raises LockedError, FileNotFoundError.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise LockedError(f"{path} is not a plain file")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise LockedError(f"{path} belongs to another user")
    if status.st_mode & _OTHERS:
        raise LockedError(f"others may read {path}", hint=f"close it with: chmod 600 {path}")


def close_new_files() -> None:
    """From now on, close every file that this process makes to others, whoever makes it: SQLite does so itself."""
    global _users_mask  # noqa: PLW0603 - the umask is the process's, and cannot be read without setting it
    before = os.umask(0o077)
    if _users_mask is None:
        _users_mask = before & 0o077


def allow_as_user(fd: int, mode: int) -> None:
    """Give a file that is the user's own the rights that any program would: `mode`, less the umask of the user."""
    if sys.platform != "win32" and _users_mask is not None:
        os.fchmod(fd, mode & ~_users_mask)
