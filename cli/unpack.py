"""Unpacks a folder that was received. The archive may come from an attacker, so nothing in it is trusted.

`tarform` reads the headers. This module judges them and makes the entries, by open folders and never by a path
(`folders`). Everything goes into a new folder beside the requested one, and replaces that at the end. In it

- a name is relative, has no `..`, and is made only once, also on a disk that ignores case;
- there are only files, folders and symbolic links. Links are made last, so that nothing is written through one, and
  must stay within the folder;
- rights are those that were sent, less the umask: never wider, without setuid, setgid, sticky or an owner.

Until everything is there, a folder is private to its owner and writable by them, whatever its final rights.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peerpost.errors import (
    BadInputError,
    CannotCreateError,
    ExistsError,
    PeerpostError,
)
from peerpost.holes import SparseWriter
from peerpost.store.files.names import stays_within
from peerpost.system import Ready

from .flushing import Flusher
from .folders import Folder
from .output import unwritten
from .tarform import CutError, Member, members

__all__ = ["unpack"]

_COPY_BYTES = 1 << 18
_MAX_DEPTH = 256
_MAX_KEPT_BYTES = 128 << 20
"""How much memory the links and folders may take that are remembered until the end: a million of usual length."""
_KEPT_BYTES = 200
"""What each of those takes in addition to its name."""
_LOOK_S = 0.2
"""How often the reader checks whether it is still wanted."""


def unpack(out: str, write: Callable[[int], None], *, force: bool) -> int:
    """Unpack the archive that `write` puts into a pipe to the folder `out`. Return how many files there are.

    Without `force` the folder must not exist, or be empty; with it, what has the same name is replaced. Raises
    ExistsError, CannotCreateError, StoreFullError, StorageError, and BadInputError for a malformed or malicious
    archive: then nothing is left.
    """
    path = Path(out)
    with _disk_errors(path):
        there = _look_at(path, force=force)
        # The draft is in the same parent folder, because another place might be on another disk.
        beside = _open_beside(path, there=there)
        with beside:
            return _into(beside, path, write, there=there)


def _look_at(path: Path, *, force: bool) -> bool:
    """Return whether the folder exists. Raises ExistsError if it must not be written to."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise ExistsError(f"{path} is a link", hint="name the folder itself, or another")
    if not stat.S_ISDIR(status.st_mode):
        raise ExistsError(f"{path} exists and is no folder", hint="name another")
    if not force and any(path.iterdir()):
        raise ExistsError(
            f"{path} is not empty",
            hint=f"{path}/ puts it in there under its own name, --force replaces what has the same name",
        )
    return True


def _open_beside(path: Path, *, there: bool) -> Folder:
    try:
        # The user's path to the folder may contain links, but the folder itself must not be one.
        return Folder.open(path) if there else Folder.open(path.absolute().parent, follow=True)
    except OSError as error:
        raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None


def _into(beside: Folder, path: Path, write: Callable[[int], None], *, there: bool) -> int:
    name = f".{secrets.token_hex(6)}.peerpost-part"
    try:
        beside.make(name, 0o700)
    except OSError as error:
        raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None
    try:
        with beside.folder(name) as draft, Flusher() as flusher:
            unpacking = _Unpacking(draft, flusher)
            _through_pipe(write, unpacking)
            unpacking.settle()
            if there:
                _merge(draft, beside, path, try_only=True)
                unpacking.close_up(beside, besides=_merge(draft, beside, path))
            else:
                if beside.status(path.name) is not None:
                    raise ExistsError(f"{path} exists", hint="name another")
                beside.move(name, beside, path.name)
                beside.sync()
                # It is the same folder under its new name.
                unpacking.close_up(draft, besides=set())
    finally:
        beside.remove_tree(name)
    return unpacking.files


def _through_pipe(write: Callable[[int], None], unpacking: _Unpacking) -> None:
    read_end, write_end = os.pipe()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            unpacking.run(read_end)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            failures.append(error)
        finally:
            # Closing the pipe tells the writer that nothing more is wanted.
            os.close(read_end)

    reader = threading.Thread(target=read, name="unpack")
    reader.start()
    try:
        write(write_end)
    except PeerpostError:
        os.close(write_end)
        reader.join()
        # Writing failed because the reader gave up, so the reader's error is the cause.
        if failures and not isinstance(failures[0], CutError):
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


class _Pipe:
    """The archive as it arrives."""

    def __init__(self, fd: int, stopped: Callable[[], bool]) -> None:
        self._fd = fd
        self._ready = Ready(reads=[fd])
        self._stopped = stopped
        self._have = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """Return up to so many bytes; none at the end."""
        if not self._have:
            self._wait()
            self._have = memoryview(os.read(self._fd, _COPY_BYTES))
        taken, self._have = self._have[:size], self._have[size:]
        return taken

    def exactly(self, size: int) -> bytes:
        """Return exactly `size` bytes; for headers, each of which is bounded."""
        data = bytearray()
        while len(data) < size:
            more = self.take(size - len(data))
            if not more:
                raise CutError("the archive is cut short")
            data += more
        return bytes(data)

    def _wait(self) -> None:
        while not self._stopped():
            if self._ready.wait(_LOOK_S):
                return
        raise CutError("interrupted")


class _Unpacking:
    """One archive that is being unpacked into a new folder."""

    def __init__(self, folder: Folder, flusher: Flusher) -> None:
        self.files = 0
        self.stopped = False
        self._folder = folder
        self._flusher = flusher
        self._mask = _umask()
        self._top: str | None = None
        self._links: list[tuple[list[str], str]] = []
        self._folders: list[tuple[list[str], int, float | None]] = []
        """Each folder with its rights and modification time, before the folders in it."""
        self._kept_bytes = 0
        self._open: tuple[list[str], Folder] | None = None
        """The folder of the last entry, kept open because the next entry usually goes there too."""

    def run(self, fd: int) -> None:
        """Unpack all of it. Raises BadInputError, OSError."""
        pipe = _Pipe(fd, lambda: self.stopped)
        try:
            for member in members(pipe.exactly):
                self._take(member, pipe)
            while more := pipe.take(_COPY_BYTES):
                if any(more):
                    raise BadInputError("the archive goes on behind its end")
            if self._top is None:
                raise BadInputError("what was received is no archive of a folder: it is empty")
            # Links are made when everything else is there: so no name can lead through one.
            for parts, target in self._links:
                with self._making(parts) as folder:
                    folder.link(parts[-1], target)
        finally:
            if self._open is not None:
                self._open[1].close()

    def settle(self) -> None:
        """Give folders their rights and times, but leave their owner access for now; make all survive a power cut."""
        if all(parts for parts, _, _ in self._folders):
            # The archive says nothing about the folder that contains everything.
            self._folders.insert(0, ([], 0o777, None))
        for parts, mode, mtime in reversed(self._folders):
            with self._folder.descend(parts) as folder:
                # On a disk without such rights, all folders have the same rights anyway.
                with suppress(OSError):
                    folder.set_mode(mode & ~self._mask | 0o700)
                with suppress(OSError, OverflowError, ValueError):
                    if mtime is not None:
                        folder.set_time(mtime)
                if (fd := folder.descriptor()) is not None:
                    self._flusher.take(fd)
        self._flusher.wait()

    def close_up(self, top: Folder, *, besides: set[str]) -> None:
        """Take rights from the owner that were not sent, now that everything is in `top`; not for existing folders."""
        for parts, mode, _ in reversed(self._folders):
            if mode & ~self._mask & 0o700 == 0o700 or "/".join(parts) in besides:
                continue
            with top.descend(parts) as folder, suppress(OSError):
                folder.set_mode(mode & ~self._mask)
                folder.sync()

    def _take(self, member: Member, pipe: _Pipe) -> None:
        if self.stopped:
            raise CutError("interrupted")
        parts = self._parts(member.name)
        if member.kind == "folder":
            if parts:
                with self._making(parts) as folder:
                    folder.make(parts[-1], 0o700)
            self._keep(member)
            self._folders.append((parts, member.mode & 0o777, member.mtime))
            return
        if not parts:
            raise BadInputError("the archive is of no folder")
        self.files += 1
        if member.kind == "file":
            self._file(parts, member, pipe)
            return
        if not stays_within(member.target, len(parts) - 1):
            raise _bad(member, "links to outside the folder")
        self._keep(member)
        self._links.append((parts, member.target))

    def _keep(self, member: Member) -> None:
        self._kept_bytes += _KEPT_BYTES + 4 * (len(member.name) + len(member.target))
        if self._kept_bytes > _MAX_KEPT_BYTES:
            raise BadInputError(
                "the archive has too many folders and links",
                hint="save it as .tar and unpack it elsewhere",
            )

    def _parts(self, name: str) -> list[str]:
        """Return the components below the archive's one top folder."""
        top, *parts = name.split("/")
        if self._top is None:
            self._top = top
        if (
            top in ("", ".", "..")
            or top != self._top
            or any(part in ("", ".", "..") for part in parts)
            or len(parts) > _MAX_DEPTH
            or (os.sep != "/" and any(_is_special(part) for part in parts))
        ):
            raise BadInputError(f"the archive has a name that leads elsewhere: {name[:200]}")
        return parts

    @contextmanager
    def _making(self, parts: list[str]) -> Iterator[Folder]:
        """Give the open folder in which an entry must be made."""
        try:
            yield self._inside(parts[:-1])
        except FileExistsError:
            raise BadInputError(
                f"two things in the archive have one name on this disk: {_shown(parts)}",
                hint="save it as .tar and unpack it elsewhere",
            ) from None
        except (FileNotFoundError, NotADirectoryError):
            raise BadInputError(f"in the archive {_shown(parts)} comes before its folder") from None

    def _inside(self, parts: list[str]) -> Folder:
        if self._open is None or self._open[0] != parts:
            folder = self._folder.descend(parts)
            if self._open is not None:
                self._open[1].close()
            self._open = (parts, folder)
        return self._open[1]

    def _file(self, parts: list[str], member: Member, pipe: _Pipe) -> None:
        with self._making(parts) as folder:
            fd = folder.create(parts[-1], member.mode & 0o777)
        try:
            file, left = SparseWriter(fd), member.size
            while left:
                data = pipe.take(min(left, _COPY_BYTES))
                if not data:
                    raise CutError("the archive is cut short")
                left -= len(data)
                file.write(data)
            file.end()
            if os.utime in os.supports_fd:
                with suppress(OSError, OverflowError, ValueError):
                    os.utime(fd, (member.mtime, member.mtime))
        except BaseException:
            os.close(fd)
            raise
        self._flusher.take(fd)


def _is_special(part: str) -> bool:
    """Return whether Windows would read a name as more than a name: a path, a stream, a device."""
    return (
        any(char in part for char in '\\:*?"<>|')
        or part != part.rstrip(". ")
        or bool(getattr(os.path, "isreserved", lambda _: False)(part))
    )


def _shown(parts: list[str]) -> str:
    return "/".join(parts)[:200]


def _bad(member: Member, why: str) -> BadInputError:
    return BadInputError(
        f"in the archive {member.name[:200]} {why}", hint="nothing was saved; ask who sent it"
    )


def _merge(
    draft: Folder, folder: Folder, path: Path, *, try_only: bool = False, below: str = ""
) -> set[str]:
    """Move what is in `draft` into a folder, replacing files and links of the same name, never through a link.

    Return the folders that existed before: their rights do not change.
    """
    were_there = {below}
    for name in draft.names():
        found, goal = draft.status(name), folder.status(name)
        if found is None:
            continue
        if stat.S_ISDIR(found.st_mode) and goal is not None:
            if not stat.S_ISDIR(goal.st_mode):
                raise ExistsError(f"{path / name} is no folder, and would have to become one")
            with draft.folder(name) as inner, folder.folder(name) as outer:
                further = f"{below}/{name}" if below else name
                were_there |= _merge(inner, outer, path / name, try_only=try_only, below=further)
            continue
        if goal is not None and stat.S_ISDIR(goal.st_mode):
            raise ExistsError(f"{path / name} is a folder, and would have to become a file")
        if goal is not None and not (stat.S_ISREG(goal.st_mode) or stat.S_ISLNK(goal.st_mode)):
            raise ExistsError(f"{path / name} is a pipe or a device, and is not replaced")
        if not try_only:
            draft.move(name, folder, name)
    if not try_only:
        folder.sync()
    return were_there


def _umask() -> int:
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritten(path, error) from None
