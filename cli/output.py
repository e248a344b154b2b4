"""A file that appears whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peerpost.errors import CannotCreateError, ExistsError, StorageError, StoreFullError

__all__ = ["target"]


@contextmanager
def target(out: str, *, force: bool) -> Iterator[int]:
    """Open a new file beside `out` and give its descriptor; it takes that name when all went well.

    Raises ExistsError where the path exists and `force` does not say to replace it,
    CannotCreateError where its folder does not let us, StoreFullError when the disk is full.
    """
    path = Path(out)
    if path.is_dir():
        raise CannotCreateError(f"{path} is a folder", hint=f"name a file in it: {path / 'FILE'}")
    if not force and os.path.lexists(path):
        raise _exists(path)
    draft = path.with_name(f".{secrets.token_hex(6)}.peerpost-part")
    try:
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None
    try:
        try:
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)
        _give_name(draft, path, force=force)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(f"no space left for {path}") from None
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


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
