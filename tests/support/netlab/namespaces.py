"""Network namespaces without a name, which need no removal, and a TUN device in each."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["new_namespace", "open_tun", "readdress", "within"]

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE = "lab0"
TXQUEUE_PACKETS = 10_000
"""The driver has the queue; the kernel's own must be so long that it never drops a packet."""
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_namespace() -> int:
    """Move this thread into a new network namespace, and return a descriptor that keeps it."""
    _checked(_libc.unshare(CLONE_NEWNET))
    return _here()


@contextlib.contextmanager
def within(namespace: int) -> Iterator[None]:
    """Let this thread work in a namespace; sockets that it opens stay there."""
    home = _here()
    try:
        _checked(_libc.setns(namespace, CLONE_NEWNET))
        try:
            yield
        finally:
            _checked(_libc.setns(home, CLONE_NEWNET))
    finally:
        os.close(home)


def open_tun(address: str, congestion: str) -> int:
    """Make the device of this thread's namespace; return its descriptor, which does not block."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    disable_ipv6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if disable_ipv6.exists():
        disable_ipv6.write_text("1")  # Otherwise the kernel would look for routers on the link.
    _ip("link", "set", "lo", "up")
    _ip("link", "set", DEVICE, "up", "mtu", "1500", "txqueuelen", str(TXQUEUE_PACKETS))
    readdress(address, congestion)
    return tun


def readdress(address: str, congestion: str) -> None:
    """Give the device of this thread's namespace one address, in place of any other.

    The congestion control is set for the route, because a namespace may only use those that the machine allows to all.
    """
    _ip("addr", "flush", "dev", DEVICE)
    _ip("addr", "add", address, "dev", DEVICE)
    _ip("route", "replace", "default", "dev", DEVICE, "src", address, "congctl", congestion)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, check=False, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
