"""The structures of HELLO, by which two ends prove who they are (PROTOCOL.md, "HELLO").

Each payload is a type byte and one msgpack array. What the second flight says is a byte string
within it, because those bytes are what is signed.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from peerpost.errors import ProtocolError

from . import limits
from .codec import B8, B16, B32, B64, Codec, Ext, Reason

__all__ = [
    "REFUSED",
    "VERSIONS",
    "Have",
    "Hello1",
    "Hello2",
    "Proof",
    "Refusal",
    "RefusalCode",
    "decode_hello1",
    "decode_hello2",
    "decode_proof",
    "decode_refusal",
    "encode_hello1",
    "encode_hello2",
    "encode_proof",
    "encode_refusal",
    "is_refusal",
]

_HELLO1: Final = 0x11
_HELLO2: Final = 0x12
REFUSED: Final = b"\x13"
"""The whole payload of a refusal to an unknown peer: the same for all reasons."""
VERSIONS: Final = "versions"
"""Entry of a Refusal's `ext`: the lowest and the highest version spoken, an octet each."""


class RefusalCode(enum.IntEnum):
    """Why somebody who proved itself is refused, and whether to try again."""

    VERSION = 1
    """No common version; the only one that is told before the proof."""
    NOT_NOW = 2
    """Nothing is wrong with the peer: it tries again."""
    TICKET = 3
    """The invitation was used by another, or expired."""
    EQUIVOCATION = 4
    """Two statements of one number; the refuser's user has to verify the identity."""
    ROLLBACK = 5
    """An older statement than the stored one, which the refusal contains: its number is the one to exceed."""
    REVOKED = 6


class Hello1(
    msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """First flight: versions and fresh values, nothing about the sender."""

    version_min: Annotated[int, Meta(ge=1, le=255)]
    version_max: Annotated[int, Meta(ge=1, le=255)]
    nonce: B32
    epk: B32
    """X25519, made for this connection: envelopes on it are sealed to this key."""
    ext: Ext = {}


class Have(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """How far the sender of HELLO has got in one lane of one outbox of its peer."""

    outbox_id: B16
    lane: Annotated[int, Meta(ge=0, le=1)]
    watermark: Annotated[int, Meta(ge=0, le=limits.MAX_SEQ)]


class Proof(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Second flight, the signed part: who the sender is."""

    statement: Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_STATEMENT_BYTES)]
    statement_sig: B64
    invite_id: B8 | None = None
    """Which invitation the dialer redeems."""
    invite_mac: B32 | None = None
    """Proof that it knows the invitation's secret."""
    have: Annotated[tuple[Have, ...], Meta(max_length=limits.MAX_HAVE)] = ()
    ext: Ext = {}


class Hello2(
    msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Second flight: an encoded Proof and the identity's signature."""

    proof: Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_HELLO_BYTES)]
    sig: B64


class Refusal(
    msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Why the peer is refused."""

    code: Annotated[int, Meta(ge=1, le=255)]
    """A `RefusalCode`, or that of a later version."""
    reason: Reason
    statement: (
        Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_STATEMENT_BYTES)] | None
    ) = None
    """The stored statement of the peer that is refused, which shows it what it has signed."""
    statement_sig: B64 | None = None
    ext: Ext = {}


_T = TypeVar("_T", bound=msgspec.Struct)
_HELLO1_CODEC: Final = Codec(Hello1)
_HELLO2_CODEC: Final = Codec(Hello2)
_PROOF_CODEC: Final = Codec(Proof)
_REFUSAL_CODEC: Final = Codec(Refusal)


def encode_hello1(hello: Hello1) -> bytes:
    """Return the payload of a first flight."""
    return bytes([_HELLO1]) + _HELLO1_CODEC.encode(hello)


def decode_hello1(payload: bytes) -> Hello1:
    """Parse a first flight. Raises ProtocolError."""
    hello = _decode(_HELLO1, _HELLO1_CODEC, payload)
    if hello.version_min > hello.version_max:
        raise ProtocolError("a range of versions that is empty")
    return hello


def encode_hello2(hello: Hello2) -> bytes:
    """Return the payload of a second flight."""
    return bytes([_HELLO2]) + _HELLO2_CODEC.encode(hello)


def decode_hello2(payload: bytes) -> Hello2:
    """Parse a second flight, without the proof in it. Raises ProtocolError."""
    return _decode(_HELLO2, _HELLO2_CODEC, payload)


def encode_proof(proof: Proof) -> bytes:
    """Return the bytes that a second flight signs."""
    return _PROOF_CODEC.encode(proof)


def decode_proof(data: bytes) -> Proof:
    """Parse the signed part of a second flight. Raises ProtocolError."""
    proof = _PROOF_CODEC.decode(data)
    if (proof.invite_id is None) != (proof.invite_mac is None):
        raise ProtocolError("half an invitation")
    if len({(have.outbox_id, have.lane) for have in proof.have}) != len(proof.have):
        raise ProtocolError("two watermarks for one lane")
    return proof


def is_refusal(payload: bytes) -> bool:
    """Return whether a payload is a refusal, with a reason or without."""
    return payload[:1] == REFUSED


def encode_refusal(refusal: Refusal | None) -> bytes:
    """Return the payload of a refusal; None makes the one for unknown peers."""
    return REFUSED if refusal is None else REFUSED + _REFUSAL_CODEC.encode(refusal)


def decode_refusal(payload: bytes) -> Refusal | None:
    """Parse a refusal. Raises ProtocolError."""
    if payload == REFUSED:
        return None
    refusal = _decode(REFUSED[0], _REFUSAL_CODEC, payload)
    if (refusal.statement is None) != (refusal.statement_sig is None):
        raise ProtocolError("half a key statement")
    return refusal


def _decode(first: int, codec: Codec[_T], payload: bytes) -> _T:
    if len(payload) > limits.MAX_HELLO_BYTES or payload[:1] != bytes([first]):
        raise ProtocolError("not the flight of HELLO that was due")
    return codec.decode(payload[1:])
