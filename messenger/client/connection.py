"""One connection to the node of a home: finds the node, asks it, and tells when it does not answer."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

from peerpost import __version__, stopping
from peerpost.errors import LockedError, PeerpostError, UnavailableError
from peerpost.system import sockets, user_id
from peerpost.system.sockets import peer_pid, peer_uid

from . import loopback
from .backlog import ConnectPatience, SilentError, connect_in_turn
from .handover import handed_over
from .looking import is_an_act, is_answered_by_its_first_event
from .loopback import Loopback
from .paths import HomePaths
from .rpc import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    encode_request,
    error_from,
)

__all__ = [
    "MAX_ANSWER_BYTES",
    "NodeConnection",
    "OnEvent",
    "OnWait",
    "UnansweredError",
    "UnreadError",
    "dial",
]

T = TypeVar("T")

OnEvent = Callable[[Any], None]
OnWait = Callable[[int | None], None]
"""Called once when a node does not answer at all, with its process id if that is known."""

MAX_ANSWER_BYTES = 256 << 20
"""Longest line taken from the node: it is trusted, yet a runaway answer should not eat the
machine."""
_READ_BYTES = 1 << 16
SILENCE_S = 4.0
"""After this long without an answer, check whether the node answers anything at all. A request may well take longer."""
PROBE_S = 1.0
"""A node that is neither stopped nor too busy answers within this time."""


def _nothing(_: int) -> None:
    """Do nothing."""


class UnreadError(UnavailableError):
    """The node went away before it read the request: it can be asked again."""

    def __init__(self) -> None:
        super().__init__("the node went away before it took the request", hint="try again")


class UnansweredError(UnavailableError):
    """The node ended while the request ran: whether it was done is not known."""


class NodeConnection:
    """One connection to a node; calls on it run one after the other."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        where: str | Loopback = "",
        on_silence: Callable[[], None] | None = None,
    ) -> None:
        """Take a socket connected to `where`; `on_silence` is called whenever nothing has come for `SILENCE_S`."""
        self._where = where
        self._socket = sock
        self._on_silence = on_silence
        if on_silence is not None:
            sock.settimeout(SILENCE_S)
        self._buffer = bytearray()
        self._last_id = 0
        self._due: set[int] = set()
        """Acts that were asked for and not answered: a signal waits for them."""
        self._by_event: set[int] = set()
        """Those of them that their first event answers."""
        self._heard = False
        self._asks_for_version = True
        self._before_wait: Callable[[int], object] = _nothing
        self.pid = where.pid if isinstance(where, Loopback) else peer_pid(sock)
        """The node's process id, if the system tells it and it means the same here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the node cancels what still runs for us."""
        self._socket.close()
        for id_ in list(self._due):
            self._answered(id_)

    def _answered(self, id_: int) -> None:
        self._by_event.discard(id_)
        if id_ in self._due:
            self._due.discard(id_)
            stopping.answered()

    def call(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        fds: Sequence[int] = (),
        on_event: OnEvent | None = None,
    ) -> Any:
        """Ask, and return the result. Events that come before it go to `on_event`.

        Raises the PeerpostError the node raised; UnavailableError when the node goes away.
        """
        wanted = self.begin(method, params, fds=fds)
        for id_, kind, value in self.answers():
            if id_ != wanted:
                continue
            if kind == "result":
                return value
            if kind == "error":
                raise self.error(value)
            if on_event is not None:
                on_event(value)
        raise AssertionError("answers end only by an error")

    def begin(
        self, method: str, params: dict[str, Any] | None = None, *, fds: Sequence[int] = ()
    ) -> int:
        """Ask without waiting. Return the id that its answers will have."""
        stopping.look()
        stopping.begun()
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        if fds and isinstance(self._where, Loopback):
            request["files"] = [handed_over(fd) for fd in fds]
            fds = ()
        elif fds:
            request["fds"] = len(fds)
        line = encode_request(request)
        if is_an_act(method, params):
            self._due.add(self._last_id)
            if is_answered_by_its_first_event(method):
                self._by_event.add(self._last_id)
            stopping.asked()
        self._heard = False
        self._send(line, fds)
        return self._last_id

    def answers(self) -> Iterator[tuple[int, str, Any]]:
        """Yield (id, "event" | "result" | "error", value) as they come, of every request begun.

        An error without an id is about the connection, and raised.
        """
        while True:
            message = self._line()
            id_ = message.get("id")
            if "error" in message:
                if not isinstance(id_, int):
                    raise error_from(message["error"])
                self._answered(id_)
                yield id_, "error", message["error"]
            elif "result" in message and isinstance(id_, int):
                self._answered(id_)
                yield id_, "result", message["result"]
            elif isinstance(params := message.get("params"), dict):
                id_ = int(params.get("id", 0))
                if id_ in self._by_event:
                    self._answered(id_)
                yield id_, "event", params.get("event")

    def error(self, answer: dict[str, Any]) -> PeerpostError:
        """Return the error of an answer; if a node of another version does not know the request, say that."""
        if self._asks_for_version and answer.get("code") in (INVALID_PARAMS, METHOD_NOT_FOUND):
            return self.other_version() or error_from(answer)
        return error_from(answer)

    def other_version(self) -> UnavailableError | None:
        """Return the error for a node of another version than ours; None if the versions are the same."""
        try:
            # A second connection, because answers to other requests may still arrive on this one.
            with NodeConnection(
                _reach(self._where, patience_s=PROBE_S), where=self._where
            ) as beside:
                beside.give_up_after(PROBE_S)
                # A node that does not even know this request would be asked again without end.
                beside._asks_for_version = False
                version = beside.call("node.status")["version"]
        except (PeerpostError, OSError, LookupError, TypeError):
            return None
        if version == __version__:
            return None
        return UnavailableError(
            f"the node is of version {version}, and this command of {__version__}",
            hint="peerpost node stop, then again: what is queued stays queued",
        )

    def give_up_after(self, timeout_s: float) -> None:
        """Make calls raise UnavailableError when the node says nothing for this long."""
        self._on_silence = None
        self._socket.settimeout(timeout_s)

    def wait_quietly(self, before_wait: Callable[[int], object]) -> None:
        """Wait for as long as it takes from now on, without a look at whether the node answers anything else.

        `before_wait` is called with the descriptor of the connection before each wait.
        """
        self._on_silence = None
        self._socket.settimeout(None)
        self._before_wait = before_wait

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self._socket.fileno()

    @property
    def has_line(self) -> bool:
        """Whether an answer or an event was read already, and nothing has to be waited for."""
        return b"\n" in self._buffer

    def interrupt(self) -> None:
        """Make a call in another thread raise UnansweredError."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _patiently(self, work: Callable[[], T]) -> T:
        """Read or write the socket, however long that takes."""
        while True:
            try:
                return work()
            except TimeoutError:
                if self._on_silence is None:
                    raise SilentError(self.pid) from None
                self._on_silence()

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until the node closes the connection. Return whether it did in time."""
        self._socket.settimeout(timeout_s)
        try:
            while self._socket.recv(_READ_BYTES):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def _send(self, line: bytes, fds: Sequence[int]) -> None:
        try:
            first = (lambda: sockets.send_with_files(self._socket, line, fds)) if fds else None
            sent = self._patiently(first or (lambda: self._socket.send(line)))
            # Once all is sent, send nothing more, not even zero bytes: the node may have read it and be gone.
            while sent < len(line):
                rest = line[sent:]
                sent += self._patiently(functools.partial(self._socket.send, rest))
        except (BrokenPipeError, ConnectionResetError):
            self._take_leave()
            raise UnreadError from None

    def _take_leave(self) -> None:
        """If the node gave a reason before it hung up, raise that."""
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):
            self._buffer += self._socket.recv(_READ_BYTES)
        if b"\n" in self._buffer:
            for _ in self.answers():
                return

    def _line(self) -> dict[str, Any]:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_ANSWER_BYTES:
                raise UnavailableError("the node's answer does not end")
            self._buffer += self._read()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise UnavailableError("what answers on the control socket is no Peerpost node")
        return message

    def _read(self) -> bytes:
        stopping.look()
        self._before_wait(self._socket.fileno())
        try:
            data = self._patiently(lambda: self._socket.recv(_READ_BYTES))
        except ConnectionResetError:
            # Linux resets a Unix socket that is closed with bytes unread, and one that was never
            # accepted; what had been read ends in a plain end of file. TCP may be reset at any time,
            # and with that lose an answer that has come: what was done is not known then.
            if not self._heard and not isinstance(self._where, Loopback):
                raise UnreadError from None
            data = b""
        self._heard = True
        if not data:
            raise UnansweredError(
                "the node ended before it answered",
                hint="look whether it was done before trying again; node.log may say why",
            )
        return data


def dial(
    home: str | os.PathLike[str], *, on_wait: OnWait | None = None, patience_s: float | None = None
) -> NodeConnection | None:
    """Connect to the node of a home, or return None when none runs.

    `on_wait` is called if that node turns out not to answer. The connection is waited for all the same; with
    `patience_s`, SilentError is raised after that time. Raises LockedError when the socket is someone else's.
    """
    stopping.look()
    paths = HomePaths(home)
    denied = LockedError(
        f"the node of {paths.home} belongs to another user",
        hint="use a home of your own: --home DIR",
    )
    waiting = None if on_wait is None else _Waiting(paths, on_wait)
    try:
        where = paths.control
        if where is None:
            return None
        sock = _reach(
            where,
            pid=lambda: _pid_of(paths),
            tell=None if waiting is None else lambda: waiting.tell(_pid_of(paths)),
            patience_s=patience_s,
        )
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    except PermissionError:
        # Imported only if something is wrong, because every command pays for an import.
        from peerpost.system import check_access, check_owner

        check_owner(paths.home)
        check_access(paths.home)
        raise denied from None
    except OSError as error:
        raise UnavailableError(
            f"cannot reach the control socket of {paths.home}: {error.strerror or error}"
        ) from None
    return NodeConnection(sock, where=where, on_silence=None if waiting is None else waiting.look)


def _reach(
    where: str | Loopback,
    *,
    pid: Callable[[], int | None] = lambda: None,
    tell: Callable[[], None] | None = None,
    patience_s: float | None = None,
) -> socket.socket:
    """Return a socket connected to a node of ours. Raises OSError, PermissionError if it is another user's."""
    patience = ConnectPatience(
        pid=(lambda: where.pid) if isinstance(where, Loopback) else pid,
        told_after_s=SILENCE_S + PROBE_S,
        tell=tell,
        patience_s=patience_s,
    )
    if isinstance(where, Loopback):
        return loopback.connect(where, patience)
    sock = sockets.unix_socket()
    try:
        connect_in_turn(sock, where, patience)
        if peer_uid(sock) != user_id():
            raise PermissionError
    except BaseException:
        sock.close()
        raise
    return sock


class _Waiting:
    """Reports once that the node does not answer."""

    def __init__(self, paths: HomePaths, on_wait: OnWait) -> None:
        self._paths = paths
        self._on_wait = on_wait
        self._told = False

    def tell(self, pid: int | None) -> None:
        """Report it now, if that was not done yet."""
        if not self._told:
            self._told = True
            self._on_wait(pid)

    def look(self) -> None:
        """Check whether a silent node answers another connection, and report it if it does not."""
        if self._told:
            return
        try:
            probe = dial(self._paths.home, patience_s=PROBE_S)
            if probe is None:
                return
            with probe:
                probe.give_up_after(PROBE_S)
                probe.call("node.status")
        except SilentError as error:
            self.tell(error.pid)
        except PeerpostError:
            # It answers.
            pass


def _pid_of(paths: HomePaths) -> int | None:
    """Return the process that holds the home, as far as that is known here."""
    # Imported only if something is wrong, because every command pays for an import.
    from .holder import holder_of

    holder = holder_of(paths.home)
    return None if holder is None else holder.pid
