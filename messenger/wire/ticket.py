"""Tickets: all that a stranger needs to reach and to prove itself to an inviter (PROTOCOL.md,
"Tickets").

Upper-case text for an alphanumeric QR code: `PP1`, then base32 of the fields, the addresses and a
checksum. The checksum tells a damaged ticket from a used one; it protects against nothing but
slips.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Final

from peerpost.errors import BadInputError

from . import limits
from .address import Address, parse

__all__ = ["CHECKSUM_PERSON", "TICKET_PREFIX", "Ticket"]

TICKET_PREFIX: Final = "PP1"
CHECKSUM_PERSON: Final = b"peerpost/v1/tckt"
"""BLAKE2b person of the checksum."""
_CHECKSUM_BYTES: Final = 4
_FIELDS: Final = struct.Struct(">32s32s16sI")
_BODY_BYTES: Final = (limits.MAX_TICKET_CHARS - len(TICKET_PREFIX)) * 5 // 8 - _CHECKSUM_BYTES
_KINDS: Final = {"ip4": 1, "ip6": 2, "dns": 3, "dns4": 4, "dns6": 5}
_PROTOCOLS: Final = {kind: protocol for protocol, kind in _KINDS.items()}
_IP_BYTES: Final = {1: 4, 2: 16}
_DAMAGED_HINT: Final = "copy it again, whole, or ask for a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An invitation: who it is from, where they answer, and the secret that admits one guest."""

    id_public: bytes
    """32 bytes, Ed25519: the identity that the guest will know."""
    transport_public: bytes
    """32 bytes, Ed25519: under which key the inviter answers."""
    secret: bytes = field(repr=False)
    """16 bytes, for one use."""
    expires_s: int
    """Unix time, u32."""
    addresses: tuple[str, ...]
    """Canonical multiaddrs without a peer id, best first."""

    def encode(self) -> str:
        """Return the text, at most 200 characters; addresses that do not fit are left out, the best
        are kept.

        Raises BadInputError on an address that cannot be dialled, ValueError on other fields out of
        bounds.
        """
        if (len(self.id_public), len(self.transport_public), len(self.secret)) != (32, 32, 16):
            raise ValueError("a ticket has keys of 32 bytes and a secret of 16")
        if not 0 <= self.expires_s < 1 << 32:
            raise ValueError("the expiry of a ticket is a u32")
        body = _FIELDS.pack(self.id_public, self.transport_public, self.secret, self.expires_s)
        kept = 0
        for text in self.addresses:
            packed = _pack(parse(text))
            if kept < limits.MAX_TICKET_ADDRESSES and len(body) + len(packed) <= _BODY_BYTES:
                body += packed
                kept += 1
        text = base64.b32encode(body + _checksum(body)).decode().rstrip("=")
        return TICKET_PREFIX + text

    @classmethod
    def decode(cls, text: str) -> Ticket:
        """Parse a ticket that a person pasted; white space and case do not matter.

        Raises BadInputError with a hint. Whether it has expired is for the caller, who knows the
        time.
        """
        if len(text) > 4 * limits.MAX_TICKET_CHARS:
            raise _damaged()
        text = "".join(text.split()).upper()
        if not text.startswith(TICKET_PREFIX):
            raise _not_a_ticket(text)
        if len(text) > limits.MAX_TICKET_CHARS:
            raise _damaged()
        body = _unarmour(text.removeprefix(TICKET_PREFIX))
        id_public, transport_public, secret, expires_s = _FIELDS.unpack_from(body)
        return cls(
            id_public=id_public,
            transport_public=transport_public,
            secret=secret,
            expires_s=expires_s,
            addresses=_unpack_all(body[_FIELDS.size :]),
        )


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(
        TICKET_PREFIX.encode() + body, digest_size=_CHECKSUM_BYTES, person=CHECKSUM_PERSON
    ).digest()


def _unarmour(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise _damaged() from None
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    canonical = base64.b32encode(raw).decode().rstrip("=") == text
    if not canonical or len(body) < _FIELDS.size or checksum != _checksum(body):
        raise _damaged()
    return body


def _pack(address: Address) -> bytes:
    kind = _KINDS[address.protocol]
    if kind in _IP_BYTES:
        host = ipaddress.ip_address(address.host).packed
    else:
        host = bytes([len(address.host)]) + address.host.encode("ascii")
    return bytes([kind]) + host + address.port.to_bytes(2, "big")


def _unpack_all(data: bytes) -> tuple[str, ...]:
    addresses: list[str] = []
    while data:
        address, data = _unpack(data)
        addresses.append(address)
    if len(addresses) > limits.MAX_TICKET_ADDRESSES:
        raise _damaged()
    return tuple(addresses)


def _unpack(data: bytes) -> tuple[str, bytes]:
    protocol = _PROTOCOLS.get(data[0])
    if protocol is None:
        raise BadInputError(
            "the ticket has an address of an unknown kind", hint="it may be of a newer version"
        )
    begin = 1
    size = _IP_BYTES.get(data[0])
    if size is None:
        begin, size = 2, int.from_bytes(data[1:2], "big")
    host, port = data[begin : begin + size], data[begin + size : begin + size + 2]
    if len(host) != size or len(port) != 2:
        raise _damaged()
    text = host.decode("ascii", "replace") if begin == 2 else str(ipaddress.ip_address(host))
    given = Address(protocol=protocol, host=text, port=int.from_bytes(port, "big")).text
    try:
        canonical = parse(given).text == given
    except BadInputError:
        canonical = False
    if not canonical:
        raise _damaged()
    return given, data[begin + size + 2 :]


def _damaged() -> BadInputError:
    return BadInputError("the ticket is damaged", hint=_DAMAGED_HINT)


def _not_a_ticket(text: str) -> BadInputError:
    if text.startswith("PP") and text[2:3].isdigit():
        return BadInputError("the ticket is of another version", hint="update Peerpost")
    return BadInputError("not a ticket", hint="a ticket begins with PP1")
