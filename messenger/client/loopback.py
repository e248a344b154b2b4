"""The control socket where a system has no Unix sockets: TCP on the loopback, and secrets in a file of the home.

Every user of the machine can connect to the port, and can have it once the node is gone. So both ends show that they
can read the home: whoever connects says the token first, and says more only when the proof has come back. What was
killed leaves its file behind; another program at that port hears a token that opens nothing, and has no proof.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from peerpost.system import O_NOFOLLOW, OPEN, is_mine

from .backlog import SilentError

__all__ = ["GREETING_BYTES", "HOST", "Loopback", "connect", "is_same", "read"]

HOST = "127.0.0.1"
_SECRET_CHARS = 64
GREETING_BYTES = _SECRET_CHARS + 1
"""What each end says first: its secret in hexadecimal, and the end of the line."""
_MOST_BYTES = 4096
_STEP_S = 0.5
"""How long one try may wait before it is looked whether somebody must be told."""


class Loopback(NamedTuple):
    """Where a node listens on the loopback, and by what the ends know each other."""

    port: int
    token: str
    """What whoever connects says first, 64 hexadecimal digits, as is the proof."""
    proof: str
    """What only the node that has made the file can answer."""
    pid: int
    """The node's process id."""

    def text(self) -> bytes:
        """Return it as it stands in the file."""
        return json.dumps(self._asdict()).encode() + b"\n"

    @classmethod
    def parse(cls, found: dict[str, object]) -> Loopback | None:
        """Return what a file says; None if it does not say it in full."""
        port, pid = found.get("port"), found.get("pid")
        token, proof = found.get("token"), found.get("proof")
        if type(port) is not int or not 0 < port < 1 << 16 or type(pid) is not int:
            return None
        if not (isinstance(token, str) and isinstance(proof, str)):
            return None
        if not all(len(one) == _SECRET_CHARS and one.isascii() for one in (token, proof)):
            return None
        return cls(port, token, proof, pid)


def read(path: Path) -> tuple[bytes, bool]:
    """Return what a control file says, and whether it is ours and nobody else may read it. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | O_NOFOLLOW | OPEN), "rb") as file:
        return file.read(_MOST_BYTES), is_mine(os.fstat(file.fileno()))


def is_same(said: bytes, secret: str) -> bool:
    """Return whether a first line says a secret, in a time that tells nothing about how much of it is right."""
    # Only here: the command line imports this module also where the socket is another.
    import hmac

    return hmac.compare_digest(said, secret.encode() + b"\n")


def connect(
    where: Loopback,
    *,
    told_after_s: float,
    tell: Callable[[], None] | None,
    patience_s: float | None,
) -> socket.socket:
    """Connect, show the token and await the proof. `tell` is called, once, if that takes `told_after_s`.

    Raises ConnectionRefusedError if this node is not there any more, SilentError after `patience_s`, if that is given.
    """
    began_s = time.monotonic()

    def look() -> None:
        nonlocal tell
        waited_s = time.monotonic() - began_s
        if patience_s is not None and waited_s >= patience_s:
            raise SilentError(where.pid)
        if tell is not None and waited_s >= told_after_s:
            tell()
            tell = None

    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.settimeout(_STEP_S)
            sock.connect((HOST, where.port))
            _greet(sock, where, look)
        except TimeoutError:
            # The queue of the node is full. A socket that has begun to connect is not used again.
            sock.close()
            look()
        except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError):
            sock.close()
            raise ConnectionRefusedError from None
        except BaseException:
            sock.close()
            raise
        else:
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock


def _greet(sock: socket.socket, where: Loopback, look: Callable[[], None]) -> None:
    sock.sendall(where.token.encode() + b"\n")
    said = b""
    while len(said) < GREETING_BYTES:
        try:
            # Not more: what comes after it belongs to whoever has the connection then.
            part = sock.recv(GREETING_BYTES - len(said))
        except TimeoutError:
            look()
            continue
        if not part:
            raise ConnectionRefusedError
        said += part
    if not is_same(said, where.proof):
        raise ConnectionRefusedError
