"""Noise_Xpsk1_25519_ChaChaPoly_BLAKE2b: one message that opens an epoch.

    <- s
    ...
    -> e, es, s, ss, psk

The Noise Protocol Framework, revision 34, sections 5, 7.4 and 9, in the one pattern that Peerpost
uses. Checked against the `noiseprotocol` package.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from peerpost.errors import ProtocolError

from .keys import X25519KeyPair

__all__ = ["MESSAGE_BYTES", "OpenedHandshake", "Sealed", "open_message", "seal_message"]

PROTOCOL_NAME: Final = b"Noise_Xpsk1_25519_ChaChaPoly_BLAKE2b"
MESSAGE_BYTES: Final = 96
"""Ephemeral key 32, sealed static key 48, tag of the empty payload 16."""
_HASH_BYTES: Final = 64
_NONCE_0: Final = bytes(12)
"""Each key of the handshake seals once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A message made by the sender, and what both ends now share."""

    message: bytes
    key: bytes = field(repr=False)
    """32 bytes, sender to recipient."""
    handshake_hash: bytes
    """64 bytes, unique to this message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedHandshake:
    """A message read by the recipient."""

    sender: bytes
    """X25519 static key that the sender proved to hold."""
    key: bytes = field(repr=False)
    handshake_hash: bytes


class _Symmetric:
    """SymmetricState (section 5.2), with a cipher key that is new at each use."""

    __slots__ = ("chaining_key", "hash", "key")

    def __init__(self, prologue: bytes, recipient: bytes) -> None:
        self.hash = PROTOCOL_NAME.ljust(_HASH_BYTES, b"\0")
        self.chaining_key = self.hash
        self.key = b""
        self.mix_hash(prologue)
        self.mix_hash(recipient)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.blake2b(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = _hkdf(self.chaining_key, material, 2)
        self.key = key[:32]

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining_key, middle, key = _hkdf(self.chaining_key, material, 3)
        self.mix_hash(middle)
        self.key = key[:32]

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
            plaintext, self.hash, _NONCE_0, self.key
        )
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
                ciphertext, self.hash, _NONCE_0, self.key
            )
        except CryptoError:
            raise ProtocolError("a Noise message that does not open") from None
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> bytes:
        # Only the first of the two keys: the pattern is one-way.
        return _hkdf(self.chaining_key, b"", 2)[0][:32]


def seal_message(
    *,
    sender: X25519KeyPair,
    recipient: bytes,
    ephemeral: X25519KeyPair,
    psk: bytes,
    prologue: bytes,
) -> Sealed:
    """Open an epoch towards recipient. Raises ProtocolError if its key is a low-order point."""
    state = _Symmetric(prologue, recipient)
    state.mix_hash(ephemeral.public)
    state.mix_key(ephemeral.public)
    state.mix_key(ephemeral.dh(recipient))
    static = state.encrypt(sender.public)
    state.mix_key(sender.dh(recipient))
    state.mix_key_and_hash(psk)
    payload = state.encrypt(b"")
    return Sealed(
        message=ephemeral.public + static + payload,
        key=state.split(),
        handshake_hash=state.hash,
    )


def open_message(
    message: bytes,
    *,
    recipient: X25519KeyPair,
    psk_of: Callable[[bytes], bytes | None],
    prologue: bytes,
) -> OpenedHandshake:
    """Read what opens an epoch; psk_of gives the sender's 32-byte PSK, or None to refuse it.

    Raises ProtocolError, alike for every cause but the length.
    """
    if len(message) != MESSAGE_BYTES:
        raise ProtocolError("a Noise message of the wrong length")
    ephemeral = message[:32]
    state = _Symmetric(prologue, recipient.public)
    state.mix_hash(ephemeral)
    state.mix_key(ephemeral)
    state.mix_key(recipient.dh(ephemeral))
    sender = state.decrypt(message[32:80])
    state.mix_key(recipient.dh(sender))
    psk = psk_of(sender)
    if psk is None:
        raise ProtocolError("a Noise message that does not open")
    state.mix_key_and_hash(psk)
    state.decrypt(message[80:])
    return OpenedHandshake(sender=sender, key=state.split(), handshake_hash=state.hash)


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> tuple[bytes, ...]:
    """HKDF of section 4.3 over HMAC-BLAKE2b."""
    temporary = hmac.digest(chaining_key, material, "blake2b")
    previous = b""
    result: list[bytes] = []
    for number in range(1, outputs + 1):
        previous = hmac.digest(temporary, previous + bytes([number]), "blake2b")
        result.append(previous)
    return tuple(result)
