"""Unpack a folder that was received: an archive by a stranger's hand, of which nothing is believed.

The standard library reads the headers, and no more than that: what they say is judged here, and files are made here.
Everything goes into a new folder beside the one that was asked for, which takes its place when all is there. In it

- a name is relative, without `..`, and is made only once, also where a disk does not tell case apart;
- there are files, folders and symbolic links and nothing else; links come last, so that nothing is written through
  one, and stay within the folder;
- rights are the umask's, and whether a file may be run: no setuid, no owner.
"""

from __future__ import annotations

import errno
import functools
import os
import secrets
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from peerpost.errors import (
    BadInputError,
    CannotCreateError,
    ExistsError,
    PeerpostError,
    StorageError,
    StoreFullError,
)

__all__ = ["unpack"]

_COPY_BYTES = 1 << 18
_MAX_HEADER_BYTES = 1 << 20
"""Most that one header may take, its long names included: the library holds it in memory."""
_MAX_DEPTH = 256


def unpack(out: str, write: Callable[[int], None], *, force: bool) -> int:
    """Have `write` put an archive into a pipe, and unpack it to the folder `out`. Return how many files there are.

    Without `force` the folder must not exist, or be empty; with it, what has the same name is replaced. Raises
    ExistsError, CannotCreateError, StoreFullError, StorageError, and BadInputError for an archive that is not to be
    trusted: then nothing is left.
    """
    path = Path(out)
    if os.path.lexists(path) and not path.is_dir():
        raise ExistsError(f"{path} exists and is no folder", hint="name another")
    if path.is_dir() and not force and any(path.iterdir()):
        raise ExistsError(
            f"{path} is not empty",
            hint="another folder, or --force to replace what has the same name",
        )
    there = path.is_dir()
    # Where the folder is, since what is beside it may be another disk.
    beside = path if there else path.absolute().parent
    draft = beside / f".{secrets.token_hex(6)}.peerpost-part"
    try:
        draft.mkdir(mode=0o700)
    except OSError as error:
        raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None
    try:
        with _disk_errors(path):
            files = _through_pipe(write, _Unpacking(draft))
            getattr(os, "sync", lambda: None)()
            if there:
                _merge(draft, path, try_only=True)
                _merge(draft, path)
            else:
                draft.chmod(0o777 & ~_umask())
                draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return files


def _through_pipe(write: Callable[[int], None], unpacking: _Unpacking) -> int:
    read_end, write_end = os.pipe()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            with os.fdopen(read_end, "rb") as archive:
                unpacking.run(archive)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            failures.append(error)

    reader = threading.Thread(target=read, name="unpack")
    reader.start()
    try:
        write(write_end)
    except PeerpostError:
        os.close(write_end)
        reader.join()
        # That the reader gave up is why nothing more could be written.
        if failures and not isinstance(failures[0], _CutError):
            raise failures[0] from None
        raise
    except BaseException:
        unpacking.stopped = True
        os.close(write_end)
        reader.join()
        raise
    os.close(write_end)
    reader.join()
    if failures:
        raise failures[0]
    return unpacking.files


class _CutError(BadInputError):
    """The archive ends before its end."""


class _Forward:
    """A pipe that can be read, and skipped forward: what tarfile needs of a file."""

    def __init__(self, pipe: IO[bytes], stopped: Callable[[], bool]) -> None:
        self._pipe = pipe
        self._stopped = stopped
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> int:
        if offset < self._at:
            raise tarfile.ReadError("an archive that goes back")
        while self._at < offset:
            if not self.take(min(offset - self._at, _COPY_BYTES)):
                raise _CutError("the archive is cut short")
        return self._at

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError("a header that is too long")
        return self.take(size)

    def take(self, size: int) -> bytes:
        if self._stopped():
            raise _CutError("interrupted")
        data = self._pipe.read(size)
        self._at += len(data)
        return data


class _Unpacking:
    """One archive on its way into a new folder."""

    def __init__(self, folder: Path) -> None:
        self.files = 0
        self.stopped = False
        self._folder = folder
        self._top: str | None = None
        self._links: list[tuple[Path, str]] = []
        self._times: list[tuple[Path, float]] = []

    def run(self, pipe: IO[bytes]) -> None:
        """Unpack all of it. Raises BadInputError, OSError."""
        source = _Forward(pipe, lambda: self.stopped)
        for member in _members(source):
            self._take(member, source)
        while source.take(_COPY_BYTES):
            pass
        if self._top is None:
            raise BadInputError("what was received is no archive of a folder: it is empty")
        for path, link in self._links:
            self._new(path, functools.partial(Path.symlink_to, target=link))
        for path, mtime in reversed(self._times):
            with suppress(OSError, OverflowError, ValueError):
                os.utime(path, (mtime, mtime))

    def _take(self, member: tarfile.TarInfo, source: _Forward) -> None:
        parts = self._parts(member.name)
        path = self._folder.joinpath(*parts)
        if member.isdir():
            if parts:
                self._new(path, os.mkdir)
            self._times.append((path, member.mtime))
            return
        if not parts:
            raise BadInputError("the archive is of no folder")
        self.files += 1
        if member.issym():
            if not _stays_within(parts, member.linkname):
                raise _bad(member, "links to outside the folder")
            self._links.append((path, member.linkname))
        elif member.isreg() and not member.issparse():
            self._file(path, member, source)
        else:
            raise _bad(member, "is neither a file, a folder nor a symbolic link")

    def _parts(self, name: str) -> list[str]:
        """Return the components below the archive's one top folder."""
        top, *parts = name.split("/")
        if self._top is None:
            self._top = top
        if (
            top in ("", ".", "..")
            or top != self._top
            or any(part in ("", ".", "..") or "\0" in part for part in parts)
            or len(parts) > _MAX_DEPTH
            or (os.sep != "/" and any(os.sep in part or ":" in part for part in parts))
        ):
            raise BadInputError(f"the archive has a name that leads elsewhere: {name[:200]}")
        return parts

    def _new(self, path: Path, make: Callable[[Path], object]) -> Any:
        try:
            return make(path)
        except FileExistsError:
            shown = path.relative_to(self._folder)
            raise BadInputError(
                f"two things in the archive have one name on this disk: {shown}",
                hint="save it as .tar and unpack it elsewhere",
            ) from None
        except (FileNotFoundError, NotADirectoryError):
            shown = path.relative_to(self._folder)
            raise BadInputError(f"in the archive {shown} comes before its folder") from None

    def _file(self, path: Path, member: tarfile.TarInfo, source: _Forward) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        mode = 0o777 if member.mode & 0o100 else 0o666
        fd = self._new(path, lambda made: os.open(made, flags, mode))
        with os.fdopen(fd, "wb", buffering=0) as file:
            left = member.size
            while left:
                data = source.take(min(left, _COPY_BYTES))
                if not data:
                    raise _CutError("the archive is cut short")
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
        with suppress(OSError, OverflowError, ValueError):
            os.utime(path, (member.mtime, member.mtime))


def _members(source: _Forward) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive. Raises BadInputError for what is no good archive."""
    try:
        archive = tarfile.TarFile(fileobj=cast("IO[bytes]", source), errors="surrogateescape")
        while (member := archive.next()) is not None:
            # Else the library would remember every one of them.
            cast("Any", archive).members.clear()
            if member.size < 0 or member.offset_data < source.tell():
                raise tarfile.ReadError("a member of negative size")
            if member.isreg():
                source.seek(member.offset_data)
            yield member
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise BadInputError(f"what was received is no archive of a folder: {error}") from None


def _stays_within(parts: list[str], link: str) -> bool:
    """Tell whether a symbolic link can lead nowhere outside; the sender's manifest has the same rule."""
    steps = link.split("/")
    up = 0
    while up < len(steps) and steps[up] in ("..", "."):
        up += 1
    climbs = steps[:up].count("..")
    return (
        bool(link)
        and not link.startswith("/")
        and "\0" not in link
        and climbs < len(parts)
        and ".." not in steps[up:]
    )


def _bad(member: tarfile.TarInfo, why: str) -> BadInputError:
    return BadInputError(
        f"in the archive {member.name[:200]} {why}", hint="nothing was saved; ask who sent it"
    )


def _merge(draft: Path, folder: Path, *, try_only: bool = False) -> None:
    """Move what is in `draft` into a folder, replacing files of the same name, never through a link."""
    for found in sorted(draft.iterdir()):
        goal = folder / found.name
        is_folder = goal.is_dir() and not goal.is_symlink()
        if found.is_dir() and not found.is_symlink():
            if is_folder:
                _merge(found, goal, try_only=try_only)
                continue
            if os.path.lexists(goal):
                raise ExistsError(f"{goal} is no folder, and would have to become one")
        elif is_folder:
            raise ExistsError(f"{goal} is a folder, and would have to become a file")
        if not try_only:
            found.replace(goal)


def _umask() -> int:
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(f"no space left for {path}") from None
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
