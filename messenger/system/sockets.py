"""Sockets: Unix sockets, who is at their other end, passing open files on them, and what waits in the kernel."""

from __future__ import annotations

import array
import contextlib
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

__all__ = [
    "HAS_UNIX_SOCKETS",
    "MAX_SOCKET_PATH_BYTES",
    "TCP_NOTSENT_LOWAT",
    "TCP_USER_TIMEOUT",
    "exclusive",
    "is_hung_up",
    "most_descriptors",
    "own_address",
    "passes_files",
    "peer_pid",
    "peer_uid",
    "receive_with_files",
    "send_with_files",
    "unix_socket",
    "unsent_bytes",
]

HAS_UNIX_SOCKETS = sys.platform != "win32"
"""Whether processes can connect through a socket file; if not, they use TCP on the loopback."""
MAX_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""Longest path a Unix socket can have: `sun_path` less its closing NUL (unix(7); macOS has 104)."""
_FD_BYTES = array.array("i").itemsize
# Options of TCP; None if the system does not have them.
TCP_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
TCP_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
_SIOCOUTQNSD = 0x894B
"""Of linux/sockios.h."""


def unix_socket() -> socket.socket:
    """Return a new stream socket that is bound or connected by a path. Raises OSError if the system has none."""
    if sys.platform == "win32":
        raise OSError("this system has no Unix sockets")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def exclusive(sock: socket.socket) -> None:
    """Make sure that no other program shares the port that a socket will listen on."""
    if sys.platform == "win32":
        # Without this another program, even another user's, could bind the same port. Other systems never allow that.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)


def own_address(sock: socket.socket) -> None:
    """Reserve the port that a socket will listen on for this process, which gets it again at once after a crash."""
    exclusive(sock)
    if sys.platform != "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def peer_uid(sock: socket.socket) -> int:
    """Return the user id at the other end of a Unix socket. Raises OSError if the system does not tell."""
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    if sys.platform == "darwin":
        # struct xucred: version, uid, groups (sys/ucred.h); SOL_LOCAL is 0 and LOCAL_PEERCRED 1.
        return int(struct.unpack_from("2I", sock.getsockopt(0, 1, 76))[1])
    raise OSError("this system does not tell who is at the other end of a socket")


def peer_pid(sock: socket.socket) -> int | None:
    """Return the process id at the other end of a Unix socket; None if the system does not tell it."""
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[0]) or None
    if sys.platform == "darwin":
        # LOCAL_PEERPID (sys/un.h).
        return sock.getsockopt(0, 2) or None
    return None


def passes_files(sock: socket.socket) -> bool:
    """Return whether open files can travel on a socket."""
    return sys.platform != "win32" and sock.family == socket.AF_UNIX


def send_with_files(sock: socket.socket, data: bytes, fds: Sequence[int]) -> int:
    """Send data on a Unix socket, with open files beside its first byte. Return how many bytes were sent."""
    if sys.platform == "win32":
        raise OSError("this system passes no open files")
    return socket.send_fds(sock, [data], fds)


def receive_with_files(
    sock: socket.socket, size_bytes: int, max_files: int
) -> tuple[bytes, list[int], bool]:
    """Return what has come on a socket, the open files that came with it, and whether some did not fit."""
    if sys.platform == "win32" or sock.family != socket.AF_UNIX:
        return sock.recv(size_bytes), [], False
    data, control, flags, _ = sock.recvmsg(
        size_bytes, socket.CMSG_SPACE(max_files * _FD_BYTES), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    )
    fds = array.array("i")
    for level, kind, sent in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(sent[: len(sent) - len(sent) % _FD_BYTES])
    return data, list(fds), bool(flags & socket.MSG_CTRUNC)


def is_hung_up(sock: socket.socket) -> bool:
    """Return whether nobody is at the other end of a non-blocking socket any more.

    If the other end of a Unix socket has closed only its sending direction, somebody still waits there for an answer.
    With TCP the two cases cannot be distinguished without sending something, so both count as hung up.
    """
    if sys.platform != "win32" and sock.family == socket.AF_UNIX:
        import select

        poll = select.poll()
        poll.register(sock, 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True


def unsent_bytes(sock: socket.socket) -> int:
    """Return how much waits in the kernel and was never sent; 0 if the system cannot tell."""
    if sys.platform != "linux":
        return 0
    import fcntl

    answer = array.array("i", [0])
    with contextlib.suppress(OSError, ValueError):  # ValueError if it is closed.
        fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, answer)
    return answer[0]


def most_descriptors() -> int:
    """Return how many files and connections this process may have open at once."""
    if sys.platform == "win32":
        return 1 << 16
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
