"""Chunks of a file: hashed, then sealed each under a key of its own (PROTOCOL.md, "Files").

A chunk's key depends on its leaf, so a source that changes between two readings never has two
plaintexts under one key. The leaves themselves come from `peerpost.fastpath.leaves(data,
chunk_bytes, key=leaf_key(file_key), person=LEAF_PERSON, first_index=..., last=...)`, many chunks a
call.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerpost.errors import ProtocolError

from . import labels
from .keys import derive

__all__ = [
    "LEAF_PERSON",
    "chunk_key",
    "leaf_key",
    "open_chunk_into",
    "seal_chunk",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

LEAF_PERSON: Final = labels.PERSON_LEAF
_NONCE: Final = bytes(12)
"""A constant nonce is safe, because a chunk's key seals that chunk and nothing else."""
_AAD: Final = struct.Struct(">16sQB")


def leaf_key(file_key: bytes) -> bytes:
    """Return the 32-byte key of a file's leaf hashes: without it a known file cannot be
    recognised.
    """
    return derive(file_key, labels.DERIVE_LEAF_KEY)


def chunk_key(file_key: bytes, index: int, leaf: bytes) -> bytes:
    """Return the 32-byte key of chunk index, whose plaintext has this leaf."""
    return derive(file_key, labels.DERIVE_CHUNK_KEY, index.to_bytes(8, "big") + leaf)


def seal_chunk(
    file_key: bytes, file_id: bytes, index: int, last: bool, leaf: bytes, plaintext: Buffer
) -> bytes:
    """Return ciphertext and 16-byte tag of chunk index; `last` says that the file ends with it."""
    cipher = ChaCha20Poly1305(chunk_key(file_key, index, leaf))
    return cipher.encrypt(_NONCE, plaintext, _AAD.pack(file_id, index, last))


def open_chunk_into(
    file_key: bytes,
    file_id: bytes,
    index: int,
    last: bool,
    leaf: bytes,
    sealed: Buffer,
    out: memoryview,
) -> None:
    """Open a sealed chunk into a buffer of exactly the plaintext's length.

    Raises ProtocolError if any bit or the length is wrong; the content of `out` must not be used then.
    Success does not prove that the plaintext has this leaf, because the sender could have sealed
    another plaintext under it. The caller must compare with `peerpost.fastpath.verify`, in one call for
    many chunks that were opened side by side.
    """
    cipher = ChaCha20Poly1305(chunk_key(file_key, index, leaf))
    try:
        cipher.decrypt_into(_NONCE, sealed, _AAD.pack(file_id, index, last), out)
    except (InvalidTag, ValueError):
        raise ProtocolError("a chunk that does not open") from None
