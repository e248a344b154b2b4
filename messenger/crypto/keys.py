"""Key pairs, their ids, and what people compare (PROTOCOL.md, "Keys").

Seeds are arguments: nothing here draws randomness. Ed25519 is verified by libsodium alone, which
refuses small-order keys and malleable signatures where OpenSSL accepts the former.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Final

import base58
from nacl import bindings
from nacl.exceptions import CryptoError

from peerpost.errors import ProtocolError

from . import labels

__all__ = [
    "Ed25519KeyPair",
    "X25519KeyPair",
    "check_x25519",
    "derive",
    "fingerprint",
    "peer_id",
    "prekey_id",
    "safety_number",
    "transport_public",
    "verify",
]

_PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
"""Identity multihash of 36 bytes, over a libp2p public key of type Ed25519 and 32 bytes."""
_PEER_ID_CHARS: Final = 52
_PROBE: Final = bytes([1]) * 32
"""Any scalar shows a low-order point: libsodium refuses an all-zero product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class X25519KeyPair:
    """A key pair for Diffie-Hellman (RFC 7748)."""

    secret: bytes = field(repr=False)
    """32 bytes."""
    public: bytes
    """32 bytes."""

    @classmethod
    def from_seed(cls, seed: bytes) -> X25519KeyPair:
        """Make the pair whose secret is the 32-byte seed. Raises ValueError on another length."""
        if len(seed) != 32:
            raise ValueError("an X25519 seed has 32 bytes")
        return cls(secret=seed, public=bindings.crypto_scalarmult_base(seed))

    def dh(self, public: bytes) -> bytes:
        """Return the 32-byte shared secret. Raises ProtocolError on a low-order point."""
        return dh(self.secret, public)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519KeyPair:
    """A key pair for signatures (RFC 8032)."""

    seed: bytes = field(repr=False)
    """32 bytes."""
    public: bytes
    """32 bytes."""

    @classmethod
    def from_seed(cls, seed: bytes) -> Ed25519KeyPair:
        """Make the pair of the 32-byte seed. Raises ValueError on another length."""
        if len(seed) != 32:
            raise ValueError("an Ed25519 seed has 32 bytes")
        return cls(seed=seed, public=bindings.crypto_sign_seed_keypair(seed)[0])

    def sign(self, label: bytes, message: bytes) -> bytes:
        """Return the 64-byte signature over label and message; label is one of labels.LABELS."""
        return bindings.crypto_sign(label + message, self.seed + self.public)[:64]


def dh(secret: bytes, public: bytes) -> bytes:
    """Return the 32-byte X25519 shared secret. Raises ProtocolError on a low-order point."""
    try:
        return bindings.crypto_scalarmult(secret, public)
    except (CryptoError, ValueError, TypeError):
        raise ProtocolError("a public key that leads nowhere") from None


def check_x25519(public: bytes) -> None:
    """Raise ProtocolError if public is a low-order point, with which every secret would be
    known.
    """
    dh(_PROBE, public)


def verify(public: bytes, label: bytes, message: bytes, sig: bytes) -> bool:
    """Return whether sig is the signature of public over label and message."""
    if len(sig) != 64 or len(public) != 32:
        return False
    try:
        bindings.crypto_sign_open(sig + label + message, public)
    except CryptoError:
        return False
    return True


def derive(key: bytes, label: bytes, context: bytes = b"") -> bytes:
    """Return 32 bytes that can only be made with the key; label is one of labels.LABELS."""
    return hashlib.blake2b(
        label + context, digest_size=32, key=key, person=labels.PERSON_DERIVE
    ).digest()


def prekey_id(public: bytes) -> bytes:
    """Return the 8 bytes by which an envelope names the X25519 key that it is sealed to."""
    return hashlib.blake2b(public, digest_size=8, person=labels.PERSON_PREKEY_ID).digest()


def peer_id(public: bytes) -> str:
    """Return the libp2p peer id (12D3Koo...) of an Ed25519 transport key."""
    if len(public) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    return base58.b58encode(_PEER_ID_PREFIX + public).decode()


def transport_public(text: str) -> bytes:
    """Return the Ed25519 transport key of a libp2p peer id. Raises ProtocolError for any other."""
    try:
        raw = base58.b58decode(text) if len(text) == _PEER_ID_CHARS else b""
    except ValueError:
        raw = b""
    public = raw.removeprefix(_PEER_ID_PREFIX)
    if len(raw) != 38 or len(public) != 32:
        raise ProtocolError("not the peer id of an Ed25519 key")
    return public


def fingerprint(id_public: bytes) -> str:
    """Return an identity for people to read: eight groups of four base32 characters."""
    digest = hashlib.blake2b(id_public, digest_size=20, person=labels.PERSON_FINGERPRINT).digest()
    text = base64.b32encode(digest).decode()
    return " ".join(text[i : i + 4] for i in range(0, 32, 4))


def safety_number(a: bytes, b: bytes) -> str:
    """Return what two people compare, alike on both sides: twelve groups of five digits."""
    low, high = sorted((a, b))
    digest = hashlib.blake2b(low + high, digest_size=64, person=labels.PERSON_SAFETY).digest()
    groups = (int.from_bytes(digest[i : i + 5], "big") % 100_000 for i in range(0, 60, 5))
    return " ".join(f"{group:05d}" for group in groups)
