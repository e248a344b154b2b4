"""The container of a backup or a bundle: a stream of bytes, sealed piece by piece under a passphrase of its own.

    opening   = magic version memory_kib passes lanes salt header proof sum
    container = opening *sealed

`magic` is "peerpost-backup" or "peerpost-bundle".

`memory_kib`, `passes` and `lanes` (u32 each) are the cost of Argon2id, which makes the key of the passphrase and `salt`
(16 octets). `header` (24) begins libsodium's secretstream (XChaCha20-Poly1305). `proof` (17) is its first message,
empty, with all before it as associated data. `sum` (8) is the BLAKE2b of all before it, without a key: it tells a
damaged opening from a wrong passphrase and protects against nothing else.

Each `sealed` has `PIECE_BYTES` of plaintext and 17 octets more; the last alone is shorter or as long, and is marked as
the last. So a backup that was cut is told from one that is whole.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from peerpost.errors import BadInputError, WrongPassphraseError

__all__ = [
    "BACKUP",
    "BUNDLE",
    "HEADER_BYTES",
    "OPENING_BYTES",
    "PIECE_BYTES",
    "SALT_BYTES",
    "SEALED_BYTES",
    "Container",
    "ContainerOpener",
    "ContainerSealer",
    "Opening",
    "cut",
    "damaged",
]

PIECE_BYTES: Final = 1 << 16
"""Plaintext of one piece: what is held in memory at a time."""
SALT_BYTES: Final = 16
HEADER_BYTES: Final = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
OVERHEAD_BYTES: Final = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
SEALED_BYTES: Final = PIECE_BYTES + OVERHEAD_BYTES
_SUM_BYTES: Final = 8
_MAGIC_BYTES: Final = 15
_VERSION: Final = b"\x01"
_COST: Final = struct.Struct(">III")
_PARAMETERS_BYTES: Final = _MAGIC_BYTES + len(_VERSION) + _COST.size + SALT_BYTES + HEADER_BYTES
OPENING_BYTES: Final = _PARAMETERS_BYTES + OVERHEAD_BYTES + _SUM_BYTES
_MORE: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_LAST: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What is in a container, and what it is called."""

    magic: bytes
    noun: str
    whose: str
    """What to say to somebody whose passphrase is not that of the container."""


BACKUP: Final = Container(
    magic=b"peerpost-backup",
    noun="backup",
    whose="a backup has the passphrase that was given when it was made, which need not be the home's",
)
BUNDLE: Final = Container(
    magic=b"peerpost-bundle",
    noun="bundle",
    whose="a bundle has the passphrase that was given when it was exported",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What stands before the sealed pieces: how the key comes from the passphrase, and where the stream begins."""

    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    header: bytes
    """24 random octets, drawn for this backup alone."""
    proof: bytes = b""
    """By which the right key is known."""
    container: Container = BACKUP

    @property
    def parameters(self) -> bytes:
        """All before the proof, as it is written."""
        cost = _COST.pack(self.memory_kib, self.passes, self.lanes)
        return self.container.magic + _VERSION + cost + self.salt + self.header

    @classmethod
    def parse(cls, data: bytes, container: Container = BACKUP) -> Opening:
        """Take an opening apart. The cost is as it was written: `Cost.parse` bounds it.

        Raises BadInputError for what is no such container, or a damaged one.
        """
        noun = container.noun
        if not data or not container.magic.startswith(data[:_MAGIC_BYTES]):
            raise BadInputError(
                f"this is no {noun} of Peerpost", hint="look at the name of the file"
            )
        if len(data) < OPENING_BYTES:
            raise cut(noun)
        at = _MAGIC_BYTES + len(_VERSION)
        if data[_MAGIC_BYTES:at] != _VERSION:
            raise BadInputError(f"the {noun} is of a later version", hint="update Peerpost")
        if _sum(data[:-_SUM_BYTES]) != data[-_SUM_BYTES:]:
            raise damaged("its beginning", noun)
        memory_kib, passes, lanes = _COST.unpack(data[at : at + _COST.size])
        at += _COST.size
        return cls(
            memory_kib=memory_kib,
            passes=passes,
            lanes=lanes,
            salt=data[at : at + SALT_BYTES],
            header=data[at + SALT_BYTES : _PARAMETERS_BYTES],
            proof=data[_PARAMETERS_BYTES:-_SUM_BYTES],
            container=container,
        )


class ContainerSealer:
    """Seals what is in a container, piece by piece."""

    def __init__(self, key: bytes, opening: Opening) -> None:
        """Take the 32-byte key of `opening`, whose salt and header must be fresh."""
        self._state = _stream(key, opening.header)
        parameters = opening.parameters
        shown = parameters + bindings.crypto_secretstream_xchacha20poly1305_push(
            self._state, b"", parameters, _MORE
        )
        self.opening: bytes = shown + _sum(shown)
        """What is written before the first piece."""

    def seal(self, piece: bytes, *, last: bool) -> bytes:
        """Return a piece as it is written: `PIECE_BYTES` of plaintext, or up to that for the last one."""
        tag = _LAST if last else _MORE
        sealed: bytes = bindings.crypto_secretstream_xchacha20poly1305_push(
            self._state, piece, None, tag
        )
        return sealed


class ContainerOpener:
    """Opens what `ContainerSealer` has sealed."""

    def __init__(self, key: bytes, opening: Opening) -> None:
        """Begin to read. Raises WrongPassphraseError if the key is not that of the container."""
        self._noun = opening.container.noun
        self._state = _stream(key, opening.header)
        try:
            _pull(self._state, opening.proof, opening.parameters)
        except CryptoError:
            raise WrongPassphraseError(
                f"this is not the passphrase of the {self._noun}", hint=opening.container.whose
            ) from None

    def open(self, sealed: bytes) -> tuple[bytes, bool]:
        """Return the plaintext of a piece, and whether it is the last. Raises BadInputError if it is damaged or cut."""
        noun = self._noun
        if len(sealed) < OVERHEAD_BYTES:
            raise cut(noun)
        try:
            piece, tag = _pull(self._state, sealed, None)
        except CryptoError:
            # The last piece may be short, and so may one that was cut: only the key tells.
            raise (
                cut(noun) if len(sealed) < SEALED_BYTES else damaged("a part of it", noun)
            ) from None
        return piece, tag == _LAST


def cut(noun: str = BACKUP.noun) -> BadInputError:
    """Return the error for a container that ends too early."""
    return BadInputError(
        f"the {noun} is cut off, or its end is damaged",
        hint="copy it again from where it was made, or take another one; nothing was changed here",
    )


def damaged(what: str, noun: str = BACKUP.noun) -> BadInputError:
    """Return the error for a container that is not as it was made."""
    return BadInputError(
        f"the {noun} is damaged: {what} is not as it was written",
        hint="copy it again from where it was made, or take another one; nothing was changed here",
    )


def _stream(key: bytes, header: bytes) -> bindings.crypto_secretstream_xchacha20poly1305_state:
    # Both ends begin alike. libsodium's function for the sender would draw the header itself.
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    return state


def _pull(
    state: bindings.crypto_secretstream_xchacha20poly1305_state, sealed: bytes, data: bytes | None
) -> tuple[bytes, int]:
    try:
        opened: tuple[bytes, int] = bindings.crypto_secretstream_xchacha20poly1305_pull(
            state, sealed, data
        )
    except (RuntimeError, ValueError) as error:
        raise CryptoError(str(error)) from error
    return opened


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SUM_BYTES).digest()
