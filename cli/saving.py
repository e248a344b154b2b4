"""`inbox save`: where a message is saved, and when it may be deleted because it certainly was."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from peerpost import system
from peerpost.errors import (
    CannotCreateError,
    ExistsError,
    PeerpostError,
    ReaderLeftError,
    StorageError,
    UsageError,
)
from peerpost.store.files.names import FOLDER_SUFFIX, numbered, safe_name

from .app import App
from .listing import PAGE_ROWS
from .marking import mark_read
from .output import is_stdout, raw_on_terminal, settle, special, target

__all__ = ["Saving", "received"]

_USUAL_MODE = 0o666
_PRIVATE_MODE = 0o600
"""The rights of a folder that stays packed: files in it may be private."""
_MAX_TRIES = 10_000


def received(app: App, contact: str | None, *, unread: bool, files: bool) -> list[str]:
    """Return the ids of the messages in the inbox, or of the files only, oldest first."""
    found: list[str] = []
    given = {"contact": contact, "unread": unread or None, "limit": PAGE_ROWS}
    params = {key: value for key, value in given.items() if value is not None}
    while True:
        page = app.call("inbox.list", params)
        for row in page:
            if row["kind"] == "unknown":
                app.terminal.note(f"not saved: {row['id']} is of a kind of a later version")
            elif row["kind"] != "text" or not files:
                found.append(row["id"])
        if len(page) < PAGE_ROWS:
            return found[::-1]
        params["after"] = page[-1]["cursor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """The options of `inbox save`."""

    app: App
    out: str | None
    """A file, a folder, `-`, or None for the current folder."""
    force: bool
    move: bool

    def save(self, ids: list[str]) -> None:
        """Save messages by the beginnings of their ids. If one does not exist, none is saved.

        Of several failures, the first is raised after all messages were tried.
        """
        if self.out == "-":
            self._to_stdout(ids)
            return
        rows = [self.app.call("inbox.peek", {"id": id_}) for id_ in ids]
        one = self.out if len(ids) == 1 else None
        if (
            one is not None
            and (there := special(one, force=self.force, before=self._require_kept)) is not None
        ):
            self._write_into(rows[0]["id"], one, there)
        elif len(ids) > 1 or self._is_folder(rows[0]):
            self.save_each([row["id"] for row in rows])
        else:
            self._save_as(ids[0], rows[0], self.out or "")

    def save_each(self, ids: list[str]) -> None:
        """Save messages under names of their own. Raises the first failure, once all were tried."""
        if self.out == "-":
            self._to_stdout(ids)
            return
        if self.force:
            raise UsageError(
                "a message's own name replaces nothing", hint="--force goes with --out FILE"
            )
        if not ids:
            self.app.terminal.note("Nothing to save.")
            return
        folder = self._folder()
        failures: list[PeerpostError] = []
        for id_ in dict.fromkeys(ids):
            try:
                self._save_in(folder, self.app.call("inbox.peek", {"id": id_}))
            except PeerpostError as error:
                failures.append(error)
        for failure in failures[1:]:
            self.app.terminal.error(failure.code, failure.message, failure.hint)
        if failures:
            raise failures[0]

    def _to_stdout(self, ids: list[str]) -> None:
        if len(ids) != 1:
            raise UsageError("stdout takes one message", hint="give --out DIR/ for several")
        self._require_kept()
        if sys.stdout.isatty():
            raise raw_on_terminal()
        self._write_to(ids[0], sys.stdout.fileno())

    def _require_kept(self) -> None:
        """Raise UsageError if a message would be deleted whose bytes somebody may have thrown away."""
        if self.move:
            raise UsageError(
                "nobody knows whether what goes to a pipe or a device is kept",
                hint="--move goes with a file; or delete it after: peerpost inbox delete ID",
            )

    def _write_to(self, id_: str, fd: int) -> dict[str, Any]:
        """Let the node write to a pipe or device. If the reader leaves, exit silently, as other programs do."""
        try:
            saved: dict[str, Any] = self.app.call("inbox.save", {"id": id_}, fds=[fd])
        except ReaderLeftError as error:
            raise SystemExit(error.exit_code) from None
        return saved

    def _write_into(self, id_: str, out: str, fd: int) -> None:
        """Write to something existing; for a folder, its archive, as with `-`."""
        try:
            saved = self._write_to(id_, fd)
            settle(fd, out)
            in_data = is_stdout(fd)
        finally:
            os.close(fd)
        if not in_data:
            self.app.terminal.record(saved | {"path": out}, human=f"{saved['id']}  saved  {out}")

    def _is_folder(self, row: dict[str, Any]) -> bool:
        """Return whether to save the message into the folder `out`. A folder is unpacked to `out` itself instead."""
        if self.out is None or self.out.endswith(("/", os.sep)):
            return True
        path = Path(self.out)
        return path.is_dir() and not path.is_symlink() and not row.get("directory")

    def _folder(self) -> Path:
        """Return the folder to save into; it is made if it does not exist."""
        if self.out is None:
            return Path()
        path = Path(self.out)
        try:
            path.mkdir()
            # Otherwise the folder and everything in it might be gone after a power cut.
            system.fsync_dir(path.absolute().parent)
        except FileExistsError:
            if not path.is_dir():
                raise CannotCreateError(
                    f"{path} exists and is no folder", hint="name another"
                ) from None
        except OSError as error:
            raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None
        return path

    def _save_in(self, folder: Path, row: dict[str, Any]) -> None:
        """Save under the message's own name, with a number added if that is taken."""
        name = safe_name(row["name"]) if row.get("name") else f"{row['id']}.txt"
        for number in range(_MAX_TRIES):
            path = folder / numbered(name, number)
            if os.path.lexists(path):
                continue
            # Somebody may take the name before everything is written.
            with suppress(ExistsError):
                self._save_as(row["id"], row, str(path), packed=False)
                return
        raise CannotCreateError(f"{_MAX_TRIES} files named {name} are there already")

    def _save_as(
        self, id_: str, row: dict[str, Any], out: str, *, packed: bool | None = None
    ) -> None:
        if packed is None:
            packed = out.endswith(FOLDER_SUFFIX)
        more: dict[str, Any] = {"path": out}
        if row.get("directory") and not packed:
            # A message that arrives meanwhile may have an id with the same beginning, so use the whole id.
            saved, more["files"] = self._unpack(row["id"], out)
        else:
            saved = self._write(id_, row, out)
        much = f"  ({more['files']} files)" if "files" in more else ""
        if self.move:
            _require_durable(Path(out))
            # Deleted only now, so that it is always in at least one of the two places.
            self.app.call("inbox.delete", {"ids": [saved["id"]]})
            more["moved"] = True
        elif row.get("unread", True):
            mark_read(self.app, saved["id"])
        done = "moved" if self.move else "saved"
        self.app.terminal.record(saved | more, human=f"{saved['id']}  {done}  {out}{much}")

    def _unpack(self, id_: str, out: str) -> tuple[dict[str, Any], int]:
        from .unpack import unpack

        saved: dict[str, Any] = {}

        def write(fd: int) -> None:
            saved.update(self.app.call("inbox.save", {"id": id_, "mark": False}, fds=[fd]))

        files = unpack(out, write, force=self.force)
        return saved, files

    def _write(self, id_: str, row: dict[str, Any], out: str) -> dict[str, Any]:
        with target(out, force=self.force, mode=_mode(row)) as fd:
            asked = {"id": id_, "mark": False}
            saved: dict[str, Any] = self.app.call("inbox.save", asked, fds=[fd])
            _set_time(fd, row.get("modified_at"))
        return saved


def _mode(row: dict[str, Any]) -> int:
    """Return the rights for a file before the umask: those that it had on the sender's machine."""
    if row.get("directory"):
        return _PRIVATE_MODE
    mode = row.get("mode")
    return _USUAL_MODE if mode is None else int(mode, 8) & 0o777


def _set_time(fd: int, modified_at: str | None) -> None:
    """Set the modification time, if the sender has given one and the disk can store it."""
    if modified_at is not None and os.utime in os.supports_fd:
        with suppress(OSError, OverflowError, ValueError):
            at_s = datetime.fromisoformat(modified_at).timestamp()
            os.utime(fd, (at_s, at_s))


def _require_durable(path: Path) -> None:
    """Make the name survive a power cut. Raises StorageError if that is not certain."""
    try:
        system.fsync_dir(path.absolute().parent)
    except OSError as error:
        raise StorageError(
            f"{path} is saved, and the message stays: its folder cannot be flushed: {error.strerror}",
            hint="look at the rights of the folder, then delete it with: peerpost inbox delete ID",
        ) from None
