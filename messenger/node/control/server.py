"""The node's end of the control socket: for the same user on the same machine, and nobody else.

The socket lies in the home (0700) with mode 0600, and the user id of every connection is checked. It
is bound under another name and renamed into place. So it is never there with other rights, a symlink
is replaced and not followed, and the socket of a killed node is replaced. The caller holds the home's
lock. No error of a handler reaches the loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.client.rpc import Final, Handler, Request, error_object
from peerpost.errors import UnavailableError
from peerpost.node.encoded import encoded
from peerpost.node.tasks import Tasks
from peerpost.system import user_id
from peerpost.system.sockets import MAX_SOCKET_PATH_BYTES, peer_uid, unix_socket

from .caller import Caller

__all__ = ["ControlServer", "Final", "Handler", "Request"]

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
"""Connections at once; a command holds one, a bot two or three."""
DRAIN_S = 5.0
"""How long running requests may still take when the server stops."""
_ACCEPT_PAUSE_S = 0.5
"""Pause when the process has no descriptor left for another connection."""


class ControlServer:
    """JSON-RPC over a Unix socket on the running loop."""

    def __init__(
        self, path: Path, handler: Handler, *, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        """Serve `handler` at `path` (`HomePaths.socket`), or at another place if that is too long for
        a socket.
        """
        self._wanted = path
        self._handler = handler
        self._max_connections = max_connections
        self._connections: set[Caller] = set()
        self._tasks = Tasks()
        self._listener: socket.socket | None = None
        self._path = path
        self._inode = 0

    @property
    def path(self) -> Path:
        """Where the socket really is."""
        return self._path

    @property
    def requests(self) -> int:
        """Requests running now: a node with any of them is not idle."""
        return sum(connection.requests for connection in self._connections)

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        self._path = self._choose_path()
        self._listener = self._bind(self._path)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    @property
    def lost(self) -> bool:
        """Whether the socket is no longer in its place."""
        if self._listener is None:
            return False
        try:
            return self._path.lstat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def bind_again(self) -> None:
        """Make the socket again after it was deleted; open connections stay. Raises OSError."""
        old = self._listener
        if old is None:
            return
        self._listener = self._bind(self._path)
        loop = asyncio.get_running_loop()
        loop.remove_reader(old)
        old.close()
        loop.add_reader(self._listener, self._accept)

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Take no more requests, let the running ones end for up to `drain_s` seconds, and close
        everything.

        Connections with unread requests are reset, which tells their clients to ask the next node.
        """
        if self._listener is not None:
            self._remove_socket()
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        connections = list(self._connections)
        await asyncio.gather(*(connection.drain(drain_s) for connection in connections))
        await self._tasks.stop()

    def _choose_path(self) -> Path:
        control_file = HomePaths(self._wanted.parent).control_file
        if len(os.fsencode(self._wanted)) <= MAX_SOCKET_PATH_BYTES:
            control_file.unlink(missing_ok=True)
            return self._wanted
        path = Path(tempfile.mkdtemp(prefix="peerpost-")) / self._wanted.name
        draft = control_file.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"unix": os.fspath(path)}, file)
        draft.replace(control_file)
        return path

    def _bind(self, path: Path) -> socket.socket:
        # The temporary name is not longer than the real one, so it fits if that one does.
        draft = path.with_name(f".c{os.getpid():x}")
        draft.unlink(missing_ok=True)
        listener = unix_socket()
        try:
            listener.bind(os.fspath(draft))
            draft.chmod(0o600)
            listener.listen(self._max_connections)
            listener.setblocking(False)
            draft.replace(path)
            self._inode = path.lstat().st_ino
        except BaseException:
            listener.close()
            draft.unlink(missing_ok=True)
            raise
        return listener

    def _remove_socket(self) -> None:
        """Remove the socket if it is still ours."""
        with suppress(OSError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        if self._path != self._wanted:
            shutil.rmtree(self._path.parent, ignore_errors=True)
            HomePaths(self._wanted.parent).control_file.unlink(missing_ok=True)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            log.warning("cannot accept on the control socket: %s", error)
            self._pause()
            return
        if not self._welcome(sock):
            sock.close()
            return
        sock.setblocking(False)
        connection = Caller(sock, self._handler, self._tasks, on_closed=self._connections.discard)
        self._connections.add(connection)
        connection.open()

    def _welcome(self, sock: socket.socket) -> bool:
        try:
            uid = peer_uid(sock)
        except OSError as error:
            log.warning("refused a connection to the control socket: %s", error)
            return False
        if uid != user_id():
            log.warning("refused user %d at the control socket", uid)
            return False
        if len(self._connections) >= self._max_connections:
            log.warning(
                "refused a connection to the control socket: %d are open", self._max_connections
            )
            with suppress(OSError):
                sock.setblocking(False)
                sock.send(self._full())
            return False
        return True

    def _full(self) -> bytes:
        """Return what a command hears that finds no place: an error of the connection, which has no id."""
        error = UnavailableError(
            f"the node serves {self._max_connections} commands already",
            hint="nothing was done; try again when one has ended, such as a send --wait",
        )
        return encoded({"jsonrpc": "2.0", "id": None, "error": error_object(error)}) + b"\n"

    def _pause(self) -> None:
        """Listen again a little later, instead of spinning while there is no descriptor to be
        had.
        """
        loop = asyncio.get_running_loop()
        listener = self._listener
        if listener is None:
            return
        loop.remove_reader(listener)

        def resume() -> None:
            if self._listener is listener:
                loop.add_reader(listener, self._accept)

        loop.call_later(_ACCEPT_PAUSE_S, resume)
