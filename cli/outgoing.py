"""Give things to send to the node, and report how each ends."""

from __future__ import annotations

import functools
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peerpost import stdio
from peerpost.errors import (
    LockedError,
    NoInputError,
    PeerpostError,
    TimedOutError,
    UnavailableError,
)
from peerpost.stdio import inherited
from peerpost.stopping import Stopped

from .accepting import see_whether_asking
from .app import App
from .inputs import open_input
from .progress import Progress, waits_for_somebody

__all__ = ["Outgoing", "at_hand", "deliver", "file_to_send", "stream_to_send"]

_COPY_BYTES = 1 << 16
_copy_errors: list[PeerpostError] = []
"""Why stdin could not be copied to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One thing to send."""

    params: dict[str, Any]
    """The parameters of `send-net` for it."""
    fd: int | None = None
    """The file or stream, owned."""
    path: str | None = None
    """A file or folder. It is opened when its turn comes, because there may be more than can be open at once."""
    unread: bytes = b""
    """Data that was read from the stream already, to see what it is."""
    copied: bool = False
    """Whether only this process can read it: a terminal gives its input only to the process in the foreground."""
    size: int | None = None
    """Size in bytes, if it is known."""


def file_to_send(path: str, name: str | None = None) -> Outgoing:
    """Return what a path leads to: a file or folder to be opened in its turn, or an open stream."""
    fd = open_input(path, folders=True)
    found = os.fstat(fd)
    # Only if the path leads to the same thing later: not for a pipe or a descriptor of this process.
    again = inherited(path) is None and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))
    if again:
        os.close(fd)
    where: dict[str, Any] = {"path": path} if again else {"fd": fd}
    whole = Path(path).absolute()
    shown = whole if Path(path).name not in ("", "..") else whole.resolve()
    called: dict[str, Any] = {"name": _utf8(name or shown.name or "file"), "fd_index": 0}
    path_hex = os.fsencode(whole).hex()
    if stat.S_ISDIR(found.st_mode):
        return Outgoing(params={"folder": {**called, "path_hex": path_hex}}, **where)
    if stat.S_ISREG(found.st_mode):
        size = found.st_size
        return Outgoing(
            params={"file": {**called, "path_hex": path_hex, "size": size}}, size=size, **where
        )
    return Outgoing(params=stream_to_send(called["name"]), copied=os.isatty(fd), **where)


def stream_to_send(name: str) -> dict[str, Any]:
    """Return the parameters of `send-net` for a stream that is called so for the receiver."""
    return {"stream": {"name": _utf8(name), "fd_index": 0}, "confirm_end": True}


def _utf8(name: str) -> str:
    """Return a file's name with bytes replaced that are no UTF-8. It is only sent to another machine."""
    return os.fsencode(name).decode("utf-8", "replace")


def deliver(app: App, items: list[Outgoing], common: dict[str, Any]) -> None:
    """Send the items in order; print each when it is queued and, with `wait`, when it is delivered.

    Raises the first failure, after the results of the others are known.
    """
    with Progress(app.terminal) as progress:
        watch = _Watch(app, progress, items, wait=bool(common.get("wait")))
        try:
            if len(items) == 1:
                _send_one(app, items[0], common, watch)
            else:
                _send_many(app, items, common, watch)
            if not common.get("wait"):
                see_whether_asking(app, progress, watch.queued_rows)
        except UnavailableError:
            # The node has ended: another one will deliver what is queued.
            if not watch.all_wait(len(items)):
                raise
            watch.go_on(common.get("timeout_s"))
        except Stopped as stopped:
            watch.stopped(stopped, copies=bool(common.get("spool")))
            raise
    for error in watch.failures[1:]:
        app.terminal.error(error.code, error.message, error.hint)
    if watch.failures:
        raise watch.failures[0]


class _Watch:
    """The answers to each request: prints rows that say something new, keeps failures."""

    def __init__(self, app: App, progress: Progress, items: list[Outgoing], *, wait: bool) -> None:
        self._app = app
        self._progress = progress
        self._items = items
        self._begun = 0
        self._open: Outgoing | None = None
        """The item that was handed to the node and not answered yet."""
        self._confirmed = False
        self._queued: set[int] = set()
        self.queued_rows: list[dict[str, Any]] = []
        """The rows that were printed as queued."""
        self._under_way: dict[int, dict[str, Any]] = {}
        self._began_s = time.monotonic()
        self._wait = wait
        self._has_warned = False
        """Whether the user was warned that waiting alone will not deliver anything: once for all items."""
        self._has_said_why = False
        """Whether the user was told why nothing was delivered yet: once for all items."""
        self.failures: list[PeerpostError] = []

    def is_queued(self, request: int) -> bool:
        """Return whether a row of this request has come."""
        return request in self._queued

    def event(self, request: int, row: dict[str, Any]) -> None:
        """Take a row: the first of a request says that it is queued, later ones how far it is.

        Or take the question whether a stream ended as it should.
        """
        if "confirm" in row:
            self._confirm(row["confirm"])
            return
        self._open = None
        self._under_way[request] = row
        if request not in self._queued:
            self._queued.add(request)
            self._print(row)
        elif self._wait and row.get("delayed"):
            self._say_why(row)
        self._progress.update(row)

    def _say_why(self, row: dict[str, Any]) -> None:
        """Say once why nothing was delivered for some seconds, unless a file moves or asks: the progress says that."""
        why = str(row.get("last_error") or "")
        if self._has_said_why or row.get("done_bytes") or waits_for_somebody(row):
            return
        self._has_said_why = True
        contact = row["contact"]
        with self._progress.aside():
            self._app.terminal.note(
                f"{contact} cannot be reached yet: {why}; waiting."
                if why
                else f"{contact} has not answered yet; waiting."
            )

    def result(self, request: int, row: dict[str, Any]) -> None:
        """Take the last row of a request, and print it unless it only repeats what was printed."""
        self._open = None
        self._under_way.pop(request, None)
        self._progress.update(row)
        if self._wait or request not in self._queued:
            self._print(row)

    def all_wait(self, count: int) -> bool:
        """Return whether everything is queued, so that we only wait for delivery."""
        whole = not any(_is_read(row) for row in self._under_way.values())
        return self._wait and whole and len(self._queued) == count

    def go_on(self, timeout_s: float | None) -> None:
        """Wait with the node that runs now."""
        deadline_s = None if timeout_s is None else self._began_s + timeout_s
        for request, row in list(self._under_way.items()):
            params = {"id": row["id"]}
            if deadline_s is not None:
                params["timeout_s"] = max(0.0, deadline_s - time.monotonic())
            try:
                # A home that was locked meanwhile stays so: whoever locked it did not ask this command.
                row = self._app.call(
                    "send-net.wait",
                    params,
                    unlocks=False,
                    on_event=functools.partial(self.event, request),
                )
            except LockedError:
                # Not the error of a command that has done nothing: whoever reads that sends it again.
                self.failed(_locked_meanwhile(row["id"]))
            except PeerpostError as error:
                self.failed(error)
            else:
                self.result(request, row)

    def begin(self, item: Outgoing) -> None:
        """Note that the next item is handed to the node."""
        self._begun += 1
        self._open, self._confirmed = item, False

    def failed(self, error: PeerpostError) -> None:
        """Note an error answer: to the item that was handed over last, or a later one to another item."""
        self._open = None
        self.failures.append(error)

    def skip(self, error: PeerpostError) -> None:
        """Note that the next item does not exist any more."""
        self._begun += 1
        self.failures.append(error)

    def stopped(self, by: Stopped, *, copies: bool) -> None:
        """Say what becomes of each item now that a signal ends the command, as far as that is known."""
        for error in self.failures:
            self._app.terminal.error(error.code, error.message, error.hint)
        for row in self._under_way.values():
            read = _is_read(row)
            goes = "stays queued"
            if read:
                cut = "is cancelled: its input was not read to the end"
                goes = "may be queued" if self._confirmed else cut
            by.tell(
                f"{row['id']} {goes}", f"peerpost {'sent' if read else 'queue'} show {row['id']}"
            )
        in_doubt = self._is_in_doubt(by, copies=copies)
        if in_doubt:
            what = "It" if len(self._items) == 1 else f"The one behind the first {self._begun - 1}"
            by.tell(
                f"{what} may be queued: the node had not answered",
                "peerpost queue list, peerpost sent list",
            )
        unsent = len(self._items) - self._begun + (self._open is not None and not in_doubt)
        if unsent == len(self._items):
            by.tell("Nothing was sent")
        elif unsent:
            by.tell(f"{unsent} of {len(self._items)} were not sent")

    def _is_in_doubt(self, by: Stopped, *, copies: bool) -> bool:
        """Return whether an item may be queued although no row of it has come."""
        if self._open is None:
            return False
        # A stream is not queued without a row before its end was confirmed, unless it is copied first.
        is_stream = "stream" in self._open.params
        return by.in_doubt or (is_stream and (copies or self._confirmed))

    def _confirm(self, token: str) -> None:
        """Confirm the end of a stream: this process was not interrupted, and copied all of it."""
        if _copy_errors:
            raise _copy_errors[0]
        self._confirmed = True
        self._app.call("send-net.confirm", {"token": token})

    def _print(self, row: dict[str, Any]) -> None:
        what = row.get("name") or row["kind"]
        self._app.has_acted = True
        # With cron, output becomes a mail, so there must be none if nothing went wrong.
        silent = self._app.terminal.quiet and not self._app.terminal.json
        with self._progress.aside():
            with self._app.going_on():
                if not silent:
                    self._app.terminal.record(
                        row, human=f"{row['id']}  {row['state']}  {what}  to {row['contact']}"
                    )
            if row["state"] == "queued":
                self.queued_rows.append(row)
            if row["state"] == "queued" and row.get("hint") and not self._has_warned:
                self._has_warned = self._has_said_why = True
                self._app.terminal.warn(
                    f"It is queued, and waits: {row['last_error']}. {_sentence(row['hint'])}."
                )
            if row.get("repeated"):
                self._app.terminal.note(
                    f"Nothing was sent: {row['contact']} was sent this one under that key before."
                )
            for skipped in row.get("skipped", ()):
                self._app.terminal.note(f"not sent: {skipped}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_read(row: dict[str, Any]) -> bool:
    """Return whether a row is about a stream that is still being read, which only its own command can finish."""
    return row["kind"] == "file" and row["size"] is None


def _send_one(app: App, item: Outgoing, common: dict[str, Any], watch: _Watch) -> None:
    from peerpost.client.ask import call

    with at_hand(item) as fds:
        watch.begin(item)
        row = call(
            app.home,
            "send-net",
            common | item.params,
            fds=fds,
            spawn=app.spawn,
            node_args=app.node_args(),
            on_event=lambda row: watch.event(0, row),
            on_wait=app.waits,
            on_locked=app.unlocks,
        )
    watch.result(0, row)


def _send_many(app: App, items: list[Outgoing], common: dict[str, Any], watch: _Watch) -> None:
    """Queue one after the other, so that their order is the command's, then wait for all."""
    from peerpost.client.ask import connect

    connected = connect(app.home, spawn=app.spawn, node_args=app.node_args(), on_wait=app.waits)
    with connected as node:
        # Several requests are on their way before the first is answered, so it has to be open before.
        app.unlocks(node)
        answers = node.answers()
        waiting: set[int] = set()

        def hear() -> None:
            """Take one answer."""
            id_, kind, value = next(answers)
            if kind == "event":
                watch.event(id_, value)
                return
            waiting.discard(id_)
            if kind == "result":
                watch.result(id_, value)
            else:
                watch.failed(node.error(value))

        for item in items:
            try:
                opened = _opened(item)
            except NoInputError as error:
                # It was there when the command began.
                watch.skip(error)
                continue
            with _descriptors(opened) as fds:
                watch.begin(item)
                id_ = node.begin("send-net", common | item.params, fds=fds)
                waiting.add(id_)
                while id_ in waiting and not watch.is_queued(id_):
                    hear()
        while waiting:
            hear()


@contextmanager
def at_hand(item: Outgoing) -> Iterator[list[int]]:
    """Give the descriptors to hand over for an item, opened now. Raises NoInputError."""
    with _descriptors(_opened(item)) as fds:
        yield fds


def _opened(item: Outgoing) -> Outgoing:
    """Return an item with what its path leads to now, open. Raises NoInputError."""
    if item.path is None:
        return item
    return replace(item, fd=open_input(item.path, folders=True))


@contextmanager
def _descriptors(item: Outgoing) -> Iterator[list[int]]:
    """Give the descriptors of an item: its own, or a pipe that begins with what was read of it."""
    if item.fd is None:
        yield []
        return
    if not item.copied and (not item.unread or _put_back(item.fd, len(item.unread))):
        try:
            yield [item.fd]
        finally:
            os.close(item.fd)
        return
    read_end, write_end = os.pipe()
    # A daemon thread: if the node refuses, there is no point in waiting for the rest of stdin.
    threading.Thread(target=_copy, args=(item, write_end), daemon=True).start()
    try:
        yield [read_end]
    finally:
        os.close(read_end)


def _put_back(fd: int, size: int) -> bool:
    """Seek back to before what was read. Return whether that is possible, as for a file on stdin."""
    try:
        os.lseek(fd, -size, os.SEEK_CUR)
    except OSError:
        return False
    return True


def _copy(item: Outgoing, out: int) -> None:
    fd = item.fd if item.fd is not None else -1
    try:
        data = item.unread or stdio.read(fd, _COPY_BYTES)
        while data:
            stdio.write_all(out, data)
            data = stdio.read(fd, _COPY_BYTES)
    except NoInputError as error:
        _copy_errors.append(error)
    except OSError as error:
        _copy_errors.append(NoInputError(f"cannot copy the input: {error.strerror}"))
    os.close(out)


def _locked_meanwhile(id_: str) -> TimedOutError:
    return TimedOutError(
        f"the home was locked meanwhile; {id_} stays queued",
        hint="it goes on once the home is unlocked: peerpost identity unlock",
    )
