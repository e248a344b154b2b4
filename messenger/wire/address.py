"""Addresses we can dial: multiaddrs of a host and a port of some transport, with or without a peer id.

    /ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>[/p2p/<peer id>]

Only this module knows the grammar: others read a parsed `Address`, or make one. The `multiaddr` library
gives each value its canonical text; it takes more than this grammar does (signs and foreign digits
in ports, unknown protocols), so the shape is checked first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from peerpost.errors import BadInputError

from . import limits

__all__ = ["Address", "dialable", "parse"]

_HINT: Final = "an address looks like /ip4/192.0.2.7/tcp/4001 or /dns/host.example/tcp/4001"
_TRANSPORTS: Final = {"tcp": "/tcp/{port}"}
"""What follows the host, by transport protocol. That of QUIC would be `/udp/{port}/quic-v1`."""
_SHAPES: Final = {
    transport: re.compile(
        r"/(?P<protocol>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)"
        + re.escape(end).replace(r"\{port\}", "(?P<port>[0-9]{1,5})")
        + r"(?:/p2p/(?P<peer_id>[^/]+))?",
        re.ASCII,
    )
    for transport, end in _TRANSPORTS.items()
}
_PEER_ID_PREFIX: Final = "12D3KooW"
_PEER_ID: Final = re.compile(_PEER_ID_PREFIX + r"[1-9A-HJ-NP-Za-km-z]{44}", re.ASCII)
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place to dial or to listen at, canonical."""

    protocol: str
    """ip4, ip6, dns, dns4 or dns6."""
    host: str
    port: int
    transport: str = "tcp"
    """The transport protocol, a key of `_TRANSPORTS`."""
    peer_id: str | None = None
    """The peer id that should be there, if the text names one."""

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address; None if it is a name."""
        return None if self.protocol.startswith("dns") else ipaddress.ip_address(self.host)

    @property
    def is_local(self) -> bool:
        """Whether it leads to this machine, or no further than its own link."""
        ip = self.ip
        if ip is None:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast

    @property
    def text(self) -> str:
        """The multiaddr without a peer id."""
        end = _TRANSPORTS[self.transport].format(port=self.port)
        return f"/{self.protocol}/{self.host}{end}"

    def __str__(self) -> str:
        return self.text if self.peer_id is None else f"{self.text}/p2p/{self.peer_id}"


def parse(text: str, *, listen: bool = False) -> Address:
    """Parse a multiaddr that a person, a ticket or a key statement gave.

    With `listen`, the unspecified address and port 0 are allowed and names are not. Raises
    BadInputError with a hint.
    """
    transport, match = _match(text)
    protocol, host = match["protocol"], match["host"]
    port, peer_id = int(match["port"]), match["peer_id"]
    if peer_id is not None and _PEER_ID.fullmatch(peer_id) is None:
        raise BadInputError(
            "the peer id of an address is damaged", hint=f"it begins with {_PEER_ID_PREFIX}"
        )
    if port > 65535 or (port == 0 and not listen):
        raise BadInputError("the port of an address is out of range", hint="1 to 65535")
    named = protocol.startswith("dns")
    host = _host_name(host, listen=listen) if named else _ip(protocol, host, listen=listen)
    return Address(protocol=protocol, host=host, port=port, transport=transport, peer_id=peer_id)


def _match(text: str) -> tuple[str, re.Match[str]]:
    """Return the transport protocol of an address, and its parts. Raises BadInputError."""
    if len(text) <= limits.MAX_ADDRESS_CHARS:
        for transport, shape in _SHAPES.items():
            if (match := shape.fullmatch(text)) is not None:
                return transport, match
    raise BadInputError("not an address that can be dialled", hint=_HINT)


def dialable(texts: Iterable[str]) -> list[Address]:
    """Return those that this version can dial, in order and each once.

    A peer may list addresses of a later version: they are passed over, not refused.
    """
    found: dict[Address, None] = {}
    for text in texts:
        try:
            found[parse(text)] = None
        except BadInputError:
            continue
    return list(found)


def _host_name(host: str, *, listen: bool) -> str:
    if listen:
        raise BadInputError("a name cannot be listened at", hint="use /ip4 or /ip6")
    host = host.lower().removesuffix(".")
    if _HOST_NAME.fullmatch(host) is None:
        raise BadInputError(
            "the host name of an address is malformed",
            hint="letters, digits, hyphens and dots; other scripts in their xn-- form",
        )
    return host


def _ip(protocol: str, host: str, *, listen: bool) -> str:
    try:
        host = str(Multiaddr(f"/{protocol}/{host}")).split("/")[2]
        ip = ipaddress.ip_address(host)
    except (MultiaddrError, ValueError):
        raise BadInputError(f"not an {protocol} address", hint=_HINT) from None
    if ip.is_multicast or (ip.is_unspecified and not listen):
        raise BadInputError("nobody can be dialled at that address", hint=_HINT)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        # Its text differs from library to library, and /ip4 says the same.
        raise BadInputError("an IPv4 address in IPv6 form", hint=f"/ip4/{ip.ipv4_mapped}")
    return host
