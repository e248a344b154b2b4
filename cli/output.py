"""A file that appears whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peerpost import system
from peerpost.errors import CannotCreateError, ExistsError, StorageError, StoreFullError

__all__ = ["target"]


@contextmanager
def target(out: str, *, force: bool, mode: int = 0o666) -> Iterator[int]:
    """Open a new file beside `out` and give its descriptor; it takes that name when all went well.

    Its rights are `mode` less what the umask takes, from the first on, and its name survives a power cut.
    Raises ExistsError where a file or link exists and `force` does not say to replace it,
    CannotCreateError where something else does or its folder does not let us, StoreFullError when the disk is full.
    """
    path = Path(out)
    _look_at(path, force=force)
    draft = path.with_name(f".{secrets.token_hex(6)}.peerpost-part")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(draft, flags, mode)
    except OSError as error:
        raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None
    try:
        try:
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)
        _give_name(draft, path, force=force)
        # In a folder that may not be listed the file system decides when.
        with suppress(PermissionError):
            system.fsync_dir(path.absolute().parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(f"no space left for {path}") from None
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def _look_at(path: Path, *, force: bool) -> None:
    """Refuse what is there and is not to be replaced. A link counts as itself: nothing goes through it."""
    try:
        status = path.lstat()
    except OSError:
        # There is nothing, or its folder is not to be read: then making the file tells why.
        return
    if stat.S_ISDIR(status.st_mode):
        raise CannotCreateError(f"{path} is a folder", hint=f"name a file in it: {path / 'FILE'}")
    is_link = stat.S_ISLNK(status.st_mode)
    if not (is_link or stat.S_ISREG(status.st_mode)) or (is_link and _is_systems(path)):
        raise CannotCreateError(
            f"{path} is a pipe or a device", hint=f"write to stdout instead: --out - > {path}"
        )
    if not force:
        raise _exists(path)


def _is_systems(path: Path) -> bool:
    """Tell whether a link belongs to the system, as /dev/stdout does: root would replace it for everybody."""
    try:
        folder = path.absolute().parent.resolve(strict=True)
        if folder == Path("/dev") or folder.is_relative_to("/proc"):
            return True
        goal = path.stat()
    except (OSError, RuntimeError):
        return False
    return not (stat.S_ISREG(goal.st_mode) or stat.S_ISDIR(goal.st_mode))


def _give_name(draft: Path, path: Path, *, force: bool) -> None:
    if force:
        draft.replace(path)
        return
    try:
        # A link fails where the name was taken meanwhile; a rename would not.
        os.link(draft, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # No hard links on this file system.
        if os.path.lexists(path):
            raise _exists(path) from None
        draft.rename(path)


def _exists(path: Path) -> ExistsError:
    return ExistsError(f"{path} exists", hint="another name, or --force to replace it")
