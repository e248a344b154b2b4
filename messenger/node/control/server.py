"""The node's end of the control socket: for the same user on the same machine, and nobody else.

A door accepts the connections: `unix_door`, or `loopback_door` if there are no Unix sockets. The caller holds the
home's lock. No error of a handler reaches the loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.client.rpc import Final, Handler, Request, error_object
from peerpost.errors import PeerpostError, UnavailableError
from peerpost.node.encoded import encoded
from peerpost.node.tasks import Tasks
from peerpost.system.sockets import HAS_UNIX_SOCKETS

from .caller import Caller
from .loopback_door import LoopbackDoor
from .unix_door import UnixDoor

__all__ = ["ControlServer", "Final", "Handler", "Request"]

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
"""Connections at once; a command holds one, a bot two or three."""
DRAIN_S = 5.0
"""How long running requests may still take when the server stops."""
_ACCEPT_PAUSE_S = 0.5
"""Pause when the process has no descriptor left for another connection."""


class ControlServer:
    """JSON-RPC on the running loop, over a Unix socket or the loopback."""

    def __init__(
        self, path: Path, handler: Handler, *, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        """Serve `handler` at `path` (`HomePaths.socket`), or at another place if that is too long for
        a socket.
        """
        self._handler = handler
        self._max_connections = max_connections
        self._connections: set[Caller] = set()
        self._tasks = Tasks()
        self._listener: socket.socket | None = None
        if HAS_UNIX_SOCKETS and os.environ.get("PEERPOST_CONTROL") != "tcp":
            self._door: UnixDoor | LoopbackDoor = UnixDoor(path)
        else:
            self._door = LoopbackDoor(HomePaths(path.parent))

    @property
    def path(self) -> Path:
        """The real path of the socket, or the file that says where it is."""
        return self._door.path

    @property
    def requests(self) -> int:
        """Requests running now: a node with any of them is not idle."""
        return sum(connection.requests for connection in self._connections)

    def runs(self, methods: Container[str]) -> bool:
        """Return whether a request of one of these methods runs now."""
        return any(connection.running(methods) for connection in self._connections)

    async def end_requests(
        self, methods: Container[str], error: PeerpostError, drain_s: float
    ) -> None:
        """Let the requests of these methods end for up to `drain_s` seconds, and answer the rest with an error.

        The connections stay open.
        """
        found = {one: each for each in self._connections for one in each.running(methods)}
        if not found:
            return
        _, late = await asyncio.wait(found, timeout=drain_s)
        for one in late:
            found[one].break_off(one, error)
        if late:
            await asyncio.wait(late)

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        self._listener = self._door.listen(self._max_connections)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    @property
    def lost(self) -> bool:
        """Whether the socket is no longer in its place."""
        return self._listener is not None and self._door.lost

    def bind_again(self) -> None:
        """Make the socket again after it was deleted; open connections stay. Raises OSError."""
        old = self._listener
        if old is None:
            return
        self._listener = self._door.listen(self._max_connections)
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
            self._door.remove()
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        connections = list(self._connections)
        await asyncio.gather(*(connection.drain(drain_s) for connection in connections))
        await self._tasks.stop()

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
        self._door.admit(sock, self._serve)

    def _serve(self, sock: socket.socket) -> None:
        if self._listener is None:
            sock.close()
            return
        if len(self._connections) >= self._max_connections:
            log.warning(
                "refused a connection to the control socket: %d are open", self._max_connections
            )
            with suppress(OSError):
                sock.send(self._full())
            sock.close()
            return
        connection = Caller(sock, self._handler, self._tasks, on_closed=self._connections.discard)
        self._connections.add(connection)
        connection.open()

    def _full(self) -> bytes:
        """Return the answer to a connection too many: an error without an id, for the whole connection."""
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
