"""Checks whether the DNS names that are announced resolve. Nothing is sent but the look-up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import NamedTuple

from peerpost.net.sockets import dial_target
from peerpost.net.unreached import why_unreached
from peerpost.wire.address import Address, dialable

__all__ = ["LOOK_UP_S", "Found", "look_up_names"]

LOOK_UP_S = 5.0
"""How long looking up all names, in parallel, may take."""
MOST_NAMES = 16


class Found(NamedTuple):
    """The result of looking up a name."""

    name: str
    ok: bool
    words: str


async def look_up_names(addresses: Sequence[str], timeout_s: float = LOOK_UP_S) -> list[Found]:
    """Look up the names in multiaddrs, each once. Addresses that are IP addresses are skipped."""
    named = {a.text: a for a in dialable(addresses) if a.protocol.startswith("dns")}
    wanted = list(named.values())[:MOST_NAMES]
    return list(await asyncio.gather(*(_look_up(address, timeout_s) for address in wanted)))


async def _look_up(address: Address, timeout_s: float) -> Found:
    family, host, port = dial_target(address)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            answers = await loop.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except TimeoutError:
        return Found(host, False, f"the name {host} was not found within {timeout_s:g} s")
    except OSError as error:
        return Found(host, False, why_unreached(address.text, error))
    ips = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if not ips:
        return Found(host, False, f"the name {host} has no address")
    where = f"{host} is {', '.join(ips)}"
    if all(_is_here(ip) for ip in ips):
        return Found(host, False, f"{where}: other machines cannot reach this one by that address")
    return Found(host, True, where)


def _is_here(ip: str) -> bool:
    """Return whether an address leads no further than the machine of whoever dials it, or its link."""
    protocol = "ip6" if ":" in ip else "ip4"
    found = dialable([f"/{protocol}/{ip.partition('%')[0]}/tcp/1"])
    # An address that cannot be dialled at all (0.0.0.0, an IPv4 address in IPv6 form) leads nowhere either.
    return not found or found[0].is_local
