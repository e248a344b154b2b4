"""A slot of the keyfile: the data key of a home, sealed under a key that a secret is turned into by argon2id.

The seal is XChaCha20-Poly1305. It binds all that the slot says of itself, and the keyfile that it lies in, so that
nobody can lower the cost of a slot, or move it to another home, and have it open.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from peerpost.errors import BadInputError

from .labels import SEAL_KEYFILE
from .passphrase import KEY_BYTES, SALT_BYTES, Cost, derive

__all__ = ["KINDS", "NONCE_BYTES", "Slot"]

KINDS: Final = ("passphrase", "recovery", "keyring")
"""Whose secret opens a slot: one that a person knows, one that lies on paper, one that the system keeps."""
NONCE_BYTES: Final = 24
_KDF: Final = "argon2id"
_TAG_BYTES: Final = 16
_FIELDS: Final = {"type", "kdf", "memory_kib", "passes", "lanes", "salt", "nonce", "sealed"}


@dataclass(frozen=True, slots=True)
class Slot:
    """One way to the data key."""

    kind: str
    cost: Cost
    salt: bytes
    nonce: bytes
    sealed: bytes

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Slot:
        """Return the slot of a mapping out of a keyfile. Raises BadInputError; nothing is allocated for it."""
        if given.keys() != _FIELDS or given["type"] not in KINDS:
            raise BadInputError("a slot of the keyfile has other fields than it must")
        if given["kdf"] != _KDF:
            raise BadInputError("a slot of the keyfile is of another version")
        return cls(
            kind=given["type"],
            cost=Cost.parse(given),
            salt=_bytes(given["salt"], SALT_BYTES),
            nonce=_bytes(given["nonce"], NONCE_BYTES),
            sealed=_bytes(given["sealed"], KEY_BYTES + _TAG_BYTES),
        )

    @classmethod
    def seal(
        cls,
        kind: str,
        secret: bytes,
        data_key: bytes,
        keyfile_id: bytes,
        *,
        cost: Cost,
        salt: bytes,
        nonce: bytes,
    ) -> Slot:
        """Return a slot of a kind that the secret opens. Raises ShortMemoryError."""
        bound = _bound(kind, cost, salt, keyfile_id)
        key = derive(secret, salt, cost)
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(data_key, bound, nonce, key)
        return cls(kind, cost, salt, nonce, sealed)

    def open(self, secret: bytes, keyfile_id: bytes) -> bytes | None:
        """Return the data key, or None if the secret does not open this slot. Raises ShortMemoryError."""
        bound = _bound(self.kind, self.cost, self.salt, keyfile_id)
        key = derive(secret, self.salt, self.cost)
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(self.sealed, bound, self.nonce, key)
        except CryptoError:
            return None

    def as_mapping(self) -> dict[str, Any]:
        """Return what `parse` takes."""
        return {
            "type": self.kind,
            "kdf": _KDF,
            "memory_kib": self.cost.memory_kib,
            "passes": self.cost.passes,
            "lanes": self.cost.lanes,
            "salt": self.salt.hex(),
            "nonce": self.nonce.hex(),
            "sealed": self.sealed.hex(),
        }


def _bound(kind: str, cost: Cost, salt: bytes, keyfile_id: bytes) -> bytes:
    """Return the additional data of the seal: each field has a fixed length, or ends in NUL."""
    numbers = struct.pack(">III", cost.memory_kib, cost.passes, cost.lanes)
    return SEAL_KEYFILE + kind.encode() + b"\0" + keyfile_id + numbers + salt


def _bytes(given: object, length: int) -> bytes:
    """Return so many bytes of a text in hex, which has lower case and nothing between: one text for each slot."""
    try:
        found = bytes.fromhex(given) if isinstance(given, str) else b""
    except ValueError:
        found = b""
    if len(found) != length or found.hex() != given:
        raise BadInputError(f"a field of the keyfile is not {length} bytes in hex")
    return found
