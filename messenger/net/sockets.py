"""TCP sockets from addresses, and what is set on them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from peerpost.errors import BadInputError, UnavailableError
from peerpost.system import sockets as system_sockets
from peerpost.system.sockets import TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT, own_address
from peerpost.wire.address import Address

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


def dial_target(address: Address) -> tuple[socket.AddressFamily, str, int]:
    """Return family, host and port of a TCP address. Raises BadInputError for any other."""
    if address.transport != "tcp":
        raise BadInputError(f"{address} is no TCP address")
    return _HOSTS[address.protocol], address.host, address.port


def bind(address: Address) -> socket.socket:
    """Listen on the address of a host. Raises UnavailableError if that is not possible, BadInputError for a name."""
    family, host, port = dial_target(address)
    if address.ip is None:
        raise BadInputError(f"{address}: listen on an IP address")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        own_address(sock)
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


def bound_address(sock: socket.socket) -> Address:
    """Return what a socket is bound to."""
    return _address(sock.family, sock.getsockname())


def remote_address(sock: socket.socket) -> Address:
    """Return the address of the other end; 0.0.0.0 and port 0 if the socket is gone."""
    try:
        return _address(sock.family, sock.getpeername())
    except OSError:
        return Address(protocol="ip4", host="0.0.0.0", port=0)  # noqa: S104 - nothing is bound


def _address(family: int, name: tuple[Any, ...]) -> Address:
    protocol = "ip6" if family == socket.AF_INET6 else "ip4"
    return Address(protocol=protocol, host=str(name[0]).partition("%")[0], port=int(name[1]))


def tune(sock: socket.socket) -> None:
    """Make the socket send small writes at once, and notice a peer that is gone."""
    wanted = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    if TCP_USER_TIMEOUT is not None:
        wanted.append((socket.IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS))
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
    if sock is not None and TCP_NOTSENT_LOWAT is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, size_bytes // 2)


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return how much waits in the kernel and was never sent; 0 if the system cannot tell.

    It may be more than `keep_unsent` allows: Linux fills its next segment up to 64 KiB, whatever the limit.
    """
    sock = transport.get_extra_info("socket")
    return 0 if sock is None else system_sockets.unsent_bytes(sock)
