"""TCP sockets from multiaddrs, and their options."""

from __future__ import annotations

import array
import asyncio
import contextlib
import socket
import sys

from peerpost.errors import BadInputError, UnavailableError

if sys.platform == "linux":
    import fcntl

    SIOCOUTQNSD = 0x894B
    """Of linux/sockios.h."""

__all__ = [
    "bind",
    "bound_address",
    "dial_target",
    "keep_unsent",
    "remote_address",
    "tune",
    "unsent_bytes",
]

BACKLOG = 256
USER_TIMEOUT_MS = 20_000
MOST_BUFFERED_BYTES = 64 * 1024

_HOSTS = {
    "ip4": socket.AF_INET,
    "ip6": socket.AF_INET6,
    "dns": socket.AF_UNSPEC,
    "dns4": socket.AF_INET,
    "dns6": socket.AF_INET6,
}


def dial_target(address: str) -> tuple[socket.AddressFamily, str, int]:
    """Return family, host and port of a `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT` multiaddr.

    Raises BadInputError for any other.
    """
    parts = address.split("/")
    if (
        len(parts) != 5
        or parts[0]
        or parts[1] not in _HOSTS
        or parts[3] != "tcp"
        or not parts[4].isdecimal()
        or int(parts[4]) > 65535
    ):
        raise BadInputError(f"{address} is no TCP address")
    return _HOSTS[parts[1]], parts[2], int(parts[4])


def bind(address: str) -> socket.socket:
    """Listen on a multiaddr. Raises UnavailableError where that is not possible."""
    family, host, port = dial_target(address)
    if family is socket.AF_UNSPEC or address.split("/")[1].startswith("dns"):
        raise BadInputError(f"{address}: listen on an IP address")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise UnavailableError(
            f"cannot listen on {address}: {error.strerror or error}",
            hint="free the port, or choose another: [network] listen",
        ) from error
    return sock


def bound_address(sock: socket.socket) -> str:
    """Return the multiaddr a socket is bound to."""
    return _multiaddr(sock.family, sock.getsockname())


def remote_address(sock: socket.socket) -> str:
    """Return the multiaddr of the other end, or an address that means nowhere if the socket is gone."""
    try:
        return _multiaddr(sock.family, sock.getpeername())
    except OSError:
        return "/ip4/0.0.0.0/tcp/0"


def _multiaddr(family: int, name: tuple[object, ...]) -> str:
    kind = "ip6" if family == socket.AF_INET6 else "ip4"
    return f"/{kind}/{str(name[0]).partition('%')[0]}/tcp/{name[1]}"


def tune(sock: socket.socket) -> None:
    """Make the socket send small writes at once, and notice a peer that is gone."""
    wanted = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        wanted.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS))
    for level, option, value in wanted:
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, value)


def keep_unsent(transport: asyncio.Transport, size_bytes: int) -> None:
    """Bound what waits before it is sent: size_bytes / 2 in the kernel, and size_bytes (at most 64 KiB) in the loop.

    Both are kept small because urgent data comes after everything that waits there.
    """
    # Beyond this bound the loop writes at once instead of at the end of its turn.
    high_bytes = min(size_bytes, MOST_BUFFERED_BYTES)
    transport.set_write_buffer_limits(high_bytes, high_bytes // 4)
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size_bytes // 2)


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return how much waits in the kernel and was never sent; 0 if the system cannot tell.

    It may be more than `keep_unsent` allows: Linux fills its next segment up to 64 KiB, whatever the limit.
    """
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None:
        return 0
    answer = array.array("i", [0])
    with contextlib.suppress(OSError, ValueError):  # The latter where it is closed.
        fcntl.ioctl(sock.fileno(), SIOCOUTQNSD, answer)
    return answer[0]
