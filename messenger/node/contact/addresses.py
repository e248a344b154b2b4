"""Which addresses the node tells its contacts: what is announced, then what it can find out by itself.

Nothing is sent to learn them: connecting a UDP socket only asks the routing table which of our addresses would be
used.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Sequence

from peerpost.wire.address import parse

__all__ = ["free_port", "primary_ip", "reachable", "with_port"]

_PROBES = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
"""Documentation addresses (RFC 5737, RFC 3849): outside this network, and nobody has them."""


def primary_ip(family: socket.AddressFamily) -> str | None:
    """Return the address that we would use to reach the internet, or None if there is no route."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(_PROBES[family])
            return str(probe.getsockname()[0])
    except OSError:
        return None


def reachable(bound: Sequence[str], announced: Sequence[str]) -> list[str]:
    """Return multiaddrs for tickets and key statements, the best first.

    If addresses are announced, only these are returned. Otherwise a wildcard address is replaced by the machine's
    own address of that family, or by loopback if there is none.
    """
    if announced:
        return list(announced)
    result: list[str] = []
    for address in bound:
        where = parse(address, listen=True)
        if where.ip is not None and where.ip.is_unspecified:
            family = socket.AF_INET if where.ip.version == 4 else socket.AF_INET6
            loopback = "127.0.0.1" if where.ip.version == 4 else "::1"
            where = dataclasses.replace(where, host=primary_ip(family) or loopback)
        if where.text not in result:
            result.append(where.text)
    return result


def free_port() -> int:
    """Return a TCP port that nothing listens on now. The home keeps it from its first day on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def with_port(address: str, port: int) -> str:
    """Return an address to listen at, with this port if it names none."""
    where = parse(address, listen=True)
    return dataclasses.replace(where, port=where.port or port).text
