"""The control socket on a system without Unix sockets: TCP on the loopback, with secrets in a file of the home.

Every user of the machine can connect to the port, and can listen on it once the node is gone. So both ends show that
they can read the home: the client first sends the token, and sends more only after the node has answered with the
proof. A node that was killed leaves its file behind. Another program that listens on that port then gets a token that
opens nothing, and cannot answer with the proof.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import NamedTuple

from peerpost.system import is_mine, open_plain

from .backlog import ConnectPatience

__all__ = ["GREETING_BYTES", "HOST", "Loopback", "connect", "is_same", "read"]

HOST = "127.0.0.1"
_SECRET_CHARS = 64
GREETING_BYTES = _SECRET_CHARS + 1
"""What each end says first: its secret in hexadecimal, and the end of the line."""
_MOST_BYTES = 4096
_STEP_S = 0.5
"""How long one try may wait before the patience is looked at."""


class Loopback(NamedTuple):
    """Where a node listens on the loopback, and the secrets by which the two ends recognise each other."""

    port: int
    token: str
    """What the client sends first: 64 hexadecimal digits. The proof has the same form."""
    proof: str
    """What only the node that has made the file can answer."""
    pid: int
    """The node's process id."""

    def text(self) -> bytes:
        """Return the content of the file."""
        return json.dumps(self._asdict()).encode() + b"\n"

    @classmethod
    def parse(cls, found: dict[str, object]) -> Loopback | None:
        """Return the parsed content of a file; None if anything is missing or malformed."""
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
    """Return the content of a control file, and whether it is ours and private. Raises OSError."""
    with open_plain(path) as file:
        return file.read(_MOST_BYTES), is_mine(os.fstat(file.fileno()))


def is_same(said: bytes, secret: str) -> bool:
    """Return whether a first line says a secret, in a time that tells nothing about how much of it is right."""
    # Imported only here, because the command line loads this module even if the node has a Unix socket.
    import hmac

    return hmac.compare_digest(said, secret.encode() + b"\n")


def connect(where: Loopback, patience: ConnectPatience) -> socket.socket:
    """Connect, show the token and await the proof.

    Raises ConnectionRefusedError if this node is not there any more, SilentError when the patience is over.
    """
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.settimeout(_STEP_S)
            sock.connect((HOST, where.port))
            _greet(sock, where, patience)
        except TimeoutError:
            # The queue of the node is full. A socket that has begun to connect is not used again.
            sock.close()
            patience.look()
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


def _greet(sock: socket.socket, where: Loopback, patience: ConnectPatience) -> None:
    sock.sendall(where.token.encode() + b"\n")
    said = b""
    while len(said) < GREETING_BYTES:
        try:
            # Read no more than that: later bytes are for the code that gets the connection.
            part = sock.recv(GREETING_BYTES - len(said))
        except TimeoutError:
            patience.look()
            continue
        if not part:
            raise ConnectionRefusedError
        said += part
    if not is_same(said, where.proof):
        raise ConnectionRefusedError
