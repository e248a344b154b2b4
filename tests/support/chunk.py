"""What the store makes of many chunks at once, made of one chunk or of a whole leaf list."""

from __future__ import annotations

import hashlib

from typing_extensions import Buffer

from peerpost.crypto import file, labels

__all__ = ["open_chunk", "root"]


def open_chunk(
    file_key: bytes, file_id: bytes, index: int, last: bool, leaf: bytes, sealed: Buffer
) -> bytes:
    """Return the plaintext of a sealed chunk. Raises ProtocolError if a bit of anything is wrong."""
    out = bytearray(max(0, memoryview(sealed).nbytes - 16))
    file.open_chunk_into(file_key, file_id, index, last, leaf, sealed, memoryview(out))
    return bytes(out)


def root(leaves: Buffer) -> bytes:
    """Return the 32-byte root over a file's whole leaf list."""
    return hashlib.blake2b(leaves, digest_size=32, person=labels.PERSON_ROOT).digest()
