"""Why an address could not be dialled, in words for users, because those of an operating system are for programmers."""

from __future__ import annotations

import errno
import os
import socket

from peerpost.errors import BadInputError
from peerpost.wire.address import parse

__all__ = ["no_answer", "nobody_listens", "place_of", "why_unreached"]

_WORDS = {
    errno.ETIMEDOUT: "no answer from {place} (timed out)",
    errno.EHOSTUNREACH: "no route to {place}",
    errno.ENETUNREACH: "no route to {place}",
    errno.EHOSTDOWN: "no route to {place}",
    errno.ENETDOWN: "the network of this machine is down: no route to {place}",
    errno.EADDRNOTAVAIL: "no route to {place}",
    errno.EAFNOSUPPORT: "this machine has no network of the kind of {place}",
    errno.ECONNRESET: "{place} hung up",
    errno.ECONNABORTED: "{place} hung up",
    errno.EPIPE: "{place} hung up",
    errno.EACCES: "a firewall on this machine does not let it call {place}",
    errno.EPERM: "a firewall on this machine does not let it call {place}",
    errno.EMFILE: "too many files are open here to call {place}",
    errno.ENFILE: "too many files are open here to call {place}",
    errno.ENOBUFS: "this machine has no memory left to call {place}",
    errno.ENOMEM: "this machine has no memory left to call {place}",
}
_UNKNOWN_NAME = frozenset(
    number
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if (number := getattr(socket, name, None)) is not None
)


def place_of(address: str) -> str:
    """Return HOST:PORT of a multiaddr; a text that is no TCP address is returned as it is."""
    try:
        where = parse(address)
    except BadInputError:
        return address
    host = f"[{where.host}]" if ":" in where.host else where.host
    return f"{host}:{where.port}"


def nobody_listens(address: str) -> str:
    """Return the message for a port at which nobody accepts connections."""
    return f"nobody listens at {place_of(address)}"


def no_answer(address: str, timeout_s: float) -> str:
    """Return the message for an address that did not answer within a time."""
    return f"no answer from {place_of(address)} in {timeout_s:g} s (timed out)"


def why_unreached(address: str, error: OSError) -> str:
    """Return the message for an error of the operating system, from looking up a name or from connecting."""
    if isinstance(error, socket.gaierror):
        host = parse(address).host
        if error.errno in _UNKNOWN_NAME:
            return f"the name {host} is not known"
        if error.errno == socket.EAI_AGAIN:
            return f"the name {host} cannot be looked up now: no name server answers"
        return f"the name {host} cannot be looked up"
    if error.errno == errno.ECONNREFUSED:
        return nobody_listens(address)
    # Not `error.strerror`: the library that raised the error may have put a text of its own or a tuple there.
    said = os.strerror(error.errno).lower() if error.errno else "the connection failed"
    words = _WORDS.get(error.errno or 0, "{place} cannot be reached: {said}")
    return words.format(place=place_of(address), said=said)
