"""Peerpost for programs in Python: send, follow what comes in, acknowledge, save. Standard library only.

    client = Client(reader="echo")
    for message in client.messages():
        client.send(message.contact, message.body or "", once=f"echo {message.cursor}")
        client.ack(message)

Each call asks the node of the home, which is started where none runs, over a connection of its own. So a client may be
used by several threads. All errors are those of `peerpost.errors`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from peerpost import system
from peerpost.errors import CannotCreateError, ExistsError, NoInputError, StorageError, UsageError

from .ask import call
from .following import DEFAULT_READER, Following
from .paths import HomePaths, default_home

__all__ = ["Client", "ContactInfo", "InboxMessage", "Sent", "message_of"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxMessage:
    """A message that was received, with the names of docs/cli.md, "inbox"."""

    id: str
    cursor: str
    """Its place in the inbox: it rises from message to message, and none is given twice."""
    contact: str
    kind: str
    """text, file, or unknown: what a later version can show."""
    body: str | None
    """A text, whole; None of a file, and of a text that is damaged (`error`)."""
    name: str | None
    size: int
    received_at: str
    sent_at: str
    unread: bool
    gap: bool
    preview: str
    directory: bool
    files: int | None
    path: str | None
    error: str | None
    """Why a text cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that was queued, with the names of docs/cli.md, "send"."""

    id: str
    contact: str
    kind: str
    state: str
    name: str | None
    size: int | None
    created: str
    delivered: str | None
    last_error: str | None
    hint: str | None
    repeated: bool = False
    """Whether it was queued earlier, under the same key `once`, and not now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactInfo:
    """A contact, with the names of docs/cli.md, "contacts"."""

    id: str
    name: str
    state: str
    verified: bool
    online: bool
    last_seen: str | None
    queued: int
    unread: int
    hint: str | None
    tags: list[str] = field(default_factory=list)
    """By which `send --to-tag` means it, with others."""


class Client:
    """The node of one home."""

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        reader: str = DEFAULT_READER,
        spawn: bool = True,
    ) -> None:
        """Take a home, by default that of the command line (`PEERPOST_HOME`), and a name to read the inbox by.

        With `spawn` a node is started where none runs. Raises LockedError for a home of another user's.
        """
        self.home = HomePaths(home or default_home()).home
        self.reader = reader
        self.spawn = spawn
        system.check_owner(self.home)

    def send(
        self,
        contact: str,
        text: str | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        once: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> Sent:
        """Queue a text or a file for a contact, and return once it is on this disk; with `wait`, on the contact's.

        `once` is a key: what was sent to this contact under it before is not sent again, and the earlier one is
        returned. It goes with texts of up to 60 KiB. Raises NotFoundError, UsageError, NoInputError, StorageError;
        with `wait` TimedOutError (after `timeout_s`), RefusedError.
        """
        params: dict[str, Any] = {"contact": contact}
        if once is not None:
            params["once"] = once
        if wait:
            params |= {"wait": True} | ({} if timeout_s is None else {"timeout_s": timeout_s})
        if file is None:
            if not text:
                raise UsageError("nothing to send: give a text or a file")
            return _made(Sent, self._call("send-net", {**params, "text": text}))
        if text is not None:
            raise UsageError("either a text or a file: one message is one of them")
        with _opened(file) as fd:
            about = {"name": _name_of(file), "size": os.fstat(fd).st_size}
            about |= {"path_hex": os.fsencode(os.path.abspath(file)).hex()}  # noqa: PTH100 - bytes
            return _made(Sent, self._call("send-net", {**params, "file": about}, fds=[fd]))

    def messages(self, *, after: str | None = None) -> Iterator[InboxMessage]:
        """Yield each message that this reader has not acknowledged, and then each as it comes, for ever.

        Or begin after a cursor. This goes on over restarts of the node, and waits while the home is locked. Nothing
        is marked as read.
        """
        for row in Following(self.home, self.reader, after=after, spawn=self.spawn):
            yield message_of(row)

    def ack(self, message: InboxMessage | str) -> None:
        """Be done with a message, or a cursor, and with all before it: after a restart, what follows it comes.

        It never goes back. Raises BadInputError for a cursor that this inbox has never had.
        """
        cursor = message if isinstance(message, str) else message.cursor
        self._call("inbox.ack", {"reader": self.reader, "cursor": cursor})

    def save(
        self, message: InboxMessage | str, path: str | os.PathLike[str], *, mark: bool = True
    ) -> Path:
        """Write a message's bytes to a new file, which appears whole or not at all, and `mark` the message as read.

        A folder is saved as the tar archive as which it came. Raises ExistsError, CannotCreateError, StorageError,
        NotFoundError.
        """
        id_ = message if isinstance(message, str) else message.id
        target = Path(path)
        draft = target.with_name(f".{secrets.token_hex(6)}.peerpost-part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | system.OPEN
        try:
            fd = os.open(draft, flags, 0o666)
        except OSError as error:
            raise CannotCreateError(f"cannot create {target}: {error.strerror}") from None
        try:
            try:
                self._call("inbox.save", {"id": id_, "mark": False}, fds=[fd])
                system.fsync(fd)
            finally:
                os.close(fd)
            _name(draft, target)
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
        if mark:
            self._call("inbox.mark", {"ids": [id_]})
        return target

    def contacts(self) -> list[ContactInfo]:
        """Return the contacts, and who has an open ticket as `invited`."""
        return [_made(ContactInfo, row) for row in self._call("contacts.list")]

    def _call(
        self, method: str, params: dict[str, Any] | None = None, *, fds: Sequence[int] = ()
    ) -> Any:
        return call(self.home, method, params, fds=fds, spawn=self.spawn)


def message_of(row: dict[str, Any]) -> InboxMessage:
    """Return a row of the inbox as an object."""
    return _made(InboxMessage, row)


def _made(class_: type[T], row: dict[str, Any]) -> T:
    """Return a row as an object. Keys that it has no name for are of a later version."""
    names = {known.name for known in fields(class_)}  # type: ignore[arg-type]
    return class_(**{key: value for key, value in row.items() if key in names})


def _name_of(file: str | os.PathLike[str]) -> str:
    """Return a file's name as text; it is only sent to another machine."""
    return os.fsencode(Path(file).name).decode("utf-8", "replace")


@contextmanager
def _opened(file: str | os.PathLike[str]) -> Iterator[int]:
    """Open a file to be sent. Raises NoInputError."""
    path = Path(file)
    try:
        fd = os.open(path, os.O_RDONLY | system.O_NONBLOCK | system.OPEN)
    except OSError as error:
        raise NoInputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        if not path.is_file():
            raise NoInputError(f"{path} is no file", hint="send a folder with: peerpost send")
        yield fd
    finally:
        os.close(fd)


def _name(draft: Path, target: Path) -> None:
    """Give a file its name, which must be free. Raises ExistsError, OSError."""
    exists = ExistsError(f"{target} exists", hint="choose another name")
    try:
        # Making a hard link fails if the name was taken meanwhile; a rename would replace it.
        os.link(draft, target)
    except FileExistsError:
        raise exists from None
    except OSError:
        # No hard links on this file system.
        if os.path.lexists(target):
            raise exists from None
        draft.rename(target)
    with suppress(PermissionError):
        system.fsync_dir(target.absolute().parent)
