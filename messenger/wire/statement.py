"""Key statements: the signed list of keys behind an identity (PROTOCOL.md, "Key statements").

The body is stored and passed on verbatim with its signature; nothing is ever encoded again from its
fields. Checking the signature is crypto.statement's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peerpost.errors import ProtocolError

from . import limits
from .codec import B32, Codec, Ext, Seq, TimeS

__all__ = [
    "FLAG_COMPROMISED",
    "FLAG_REVOKED",
    "STATEMENT_VERSION",
    "KeyStatement",
    "Prekey",
    "Signed",
    "TransportKey",
    "decode_statement",
    "encode_statement",
]

STATEMENT_VERSION: Final = 1
FLAG_REVOKED: Final = 1
"""The last statement of an identity: no key of it may be used again."""
FLAG_COMPROMISED: Final = 2
"""Keys of earlier statements that are not in this one must be refused at once, without grace."""


class Prekey(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An X25519 key to which messages may be sealed while its owner is away."""

    public: B32
    created_s: TimeS


class TransportKey(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An Ed25519 key under which the node answers on the transport."""

    public: B32
    not_after_s: TimeS
    """When its owner stops answering under it; 0: not planned."""
    addresses: Annotated[
        tuple[
            Annotated[
                str, Meta(min_length=1, max_length=limits.MAX_ADDRESS_CHARS, pattern=r"\A[!-~]+\Z")
            ],
            ...,
        ],
        Meta(max_length=limits.MAX_ADDRESSES),
    ]
    """Multiaddrs without a peer id, best first. Hints: `wire.address.dialable` says which can be
    used."""


class KeyStatement(
    msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The keys of an identity at one moment."""

    version: Annotated[int, Meta(ge=1, le=255)] = STATEMENT_VERSION
    id_public: B32
    """Ed25519. It is the contact, and it signs nothing but statements and HELLO."""
    seq: Seq
    """From 1, one more each time."""
    prev: B32
    """`crypto.statement.digest` of the statement before, zeros for the first."""
    ik: B32
    """X25519, the static key of the owner's envelopes."""
    prekeys: Annotated[tuple[Prekey, ...], Meta(max_length=limits.MAX_STATEMENT_PREKEYS)] = ()
    """Newest first."""
    mlkem: (
        Annotated[
            bytes,
            Meta(min_length=limits.MLKEM768_PUBLIC_BYTES, max_length=limits.MLKEM768_PUBLIC_BYTES),
        ]
        | None
    ) = None
    """Reserved for an ML-KEM-768 encapsulation key; this version leaves it null and ignores it."""
    tk: Annotated[
        tuple[TransportKey, ...], Meta(min_length=1, max_length=limits.MAX_STATEMENT_TRANSPORTS)
    ]
    """Current first, then those in grace."""
    flags: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    """Bits not known are ignored."""
    created_s: TimeS
    """The owner's wall clock, for display only."""
    ext: Ext = {}

    @property
    def transport_publics(self) -> tuple[bytes, ...]:
        """The public transport keys, current first."""
        return tuple(key.public for key in self.tk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A statement as it travels and is kept: the bytes that were signed, and the signature."""

    body: bytes
    sig: bytes
    """64 bytes, Ed25519."""


_CODEC: Final = Codec(KeyStatement)


def encode_statement(statement: KeyStatement) -> bytes:
    """Return the body to sign. Raises ValueError if it is longer than a statement may be."""
    body = _CODEC.encode(statement)
    if len(body) > limits.MAX_STATEMENT_BYTES:
        raise ValueError(
            "a key statement has at most MAX_STATEMENT_BYTES bytes: list fewer addresses"
        )
    return body


def decode_statement(body: bytes) -> KeyStatement:
    """Parse and check a body; its signature is not looked at. Raises ProtocolError."""
    if len(body) > limits.MAX_STATEMENT_BYTES:
        raise ProtocolError("a key statement that is too long")
    statement = _CODEC.decode(body)
    if statement.version != STATEMENT_VERSION:
        raise ProtocolError("a key statement of an unknown version")
    if (statement.seq == 1) != (statement.prev == bytes(32)):
        raise ProtocolError("a key statement that does not say what it follows")
    if len(set(statement.transport_publics)) != len(statement.tk):
        raise ProtocolError("a key statement that lists a transport key twice")
    if len({key.public for key in statement.prekeys}) != len(statement.prekeys):
        raise ProtocolError("a key statement that lists a prekey twice")
    return statement
