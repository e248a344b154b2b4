"""The node listens on the loopback, and serves only those who can read the home: see `peerpost.client.loopback`.

A connection that does not begin with the exact token, at once, is closed without an answer. Few connections may be open
that have not sent it. They do not count among those that are served, so they cannot keep anybody out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from peerpost.client.loopback import GREETING_BYTES, HOST, Loopback, is_same
from peerpost.client.paths import HomePaths
from peerpost.system import write_file_durably
from peerpost.system.sockets import exclusive

__all__ = ["LoopbackDoor"]

log = logging.getLogger(__name__)

GREETING_S = 5.0
"""How long a connection may take to send the token. Our own commands send it at once."""
MAX_STRANGERS = 32
"""How many connections may be open that have not sent it. When another one comes, the oldest of them is closed."""

WARNED_S = 60.0
"""The shortest time between two log lines about refused connections."""


class LoopbackDoor:
    """A port, the file that names it, and the connections that have not sent the token."""

    def __init__(self, paths: HomePaths) -> None:
        self._file = paths.control_file
        self.path = self._file
        """The file that leads to the node."""
        self._where: Loopback | None = None
        self._inode = 0
        self._silent_until_s = 0.0
        self._strangers: dict[socket.socket, tuple[bytearray, asyncio.TimerHandle]] = {}

    def listen(self, backlog: int) -> socket.socket:
        """Return a new socket that listens, once the file leads to it. Raises OSError."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            exclusive(listener)
            listener.bind((HOST, 0))
            listener.listen(backlog)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            where = Loopback(port, secrets.token_hex(32), secrets.token_hex(32), os.getpid())
            write_file_durably(self._file, where.text())
            self._inode = self._file.lstat().st_ino
        except BaseException:
            listener.close()
            raise
        self._where = where
        return listener

    @property
    def lost(self) -> bool:
        """Whether the file is no longer in its place."""
        try:
            return self._file.lstat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def remove(self) -> None:
        """Remove the file if it is still ours, and cut off the strangers."""
        with suppress(OSError):
            if not self.lost:
                self._file.unlink()
        for sock in list(self._strangers):
            self._cut_off(sock)

    def admit(self, sock: socket.socket, admitted: Callable[[socket.socket], None]) -> None:
        """Hand on a connection once it has sent the token, or close it."""
        if len(self._strangers) >= MAX_STRANGERS:
            self._cut_off(next(iter(self._strangers)))
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._strangers[sock] = bytearray(), loop.call_later(GREETING_S, self._cut_off, sock)
        loop.add_reader(sock, self._hear, sock, admitted)
        # Most have sent it by now. The sooner it is read, the less can other connections push this one out.
        self._hear(sock, admitted)

    def _hear(self, sock: socket.socket, admitted: Callable[[socket.socket], None]) -> None:
        said, _ = self._strangers[sock]
        try:
            # Read no more than that: what follows the token is for the code that gets the connection.
            part = sock.recv(GREETING_BYTES - len(said))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            part = b""
        said += part
        if part and len(said) < GREETING_BYTES:
            return
        where = self._where
        if where is None or not is_same(bytes(said), where.token):
            self._warn()
            self._cut_off(sock)
            return
        self._let_go(sock)
        try:
            # Nothing was sent on this connection before, so all of it fits into the buffer.
            sock.send(where.proof.encode() + b"\n")
        except OSError:
            sock.close()
            return
        admitted(sock)

    def _warn(self) -> None:
        # Not each time: everybody on this machine can connect, and must not be able to fill the log.
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + WARNED_S
            log.warning("refused a connection to the control port: it did not say the token")

    def _let_go(self, sock: socket.socket) -> None:
        _, timer = self._strangers.pop(sock)
        timer.cancel()
        asyncio.get_running_loop().remove_reader(sock)

    def _cut_off(self, sock: socket.socket) -> None:
        self._let_go(sock)
        sock.close()
