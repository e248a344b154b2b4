"""Reads a received file that lies plain in a folder of the user, who may have changed or moved it since."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable

from peerpost.errors import NoInputError, SourceChangedError
from peerpost.store import disk

__all__ = ["read_plain"]

PIECE_BYTES = 1 << 20


def read_plain(path: str, digest: bytes, take: Callable[[memoryview], object]) -> str:
    """Hand over the bytes of a file; return their BLAKE2b-256 in hex, which is `digest`.

    Raises NoInputError if it is not there; and, at the end, SourceChangedError if the bytes are not those that came.
    """
    try:
        fd = disk.open_source(path)
    except OSError as error:
        raise NoInputError(
            f"the file was written to {path} and cannot be read there: {error.strerror}",
            hint="it is kept nowhere else: put it back, or delete the message",
        ) from None
    found = hashlib.blake2b(digest_size=len(digest))
    try:
        with disk.errors(f"cannot read {path}"):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                while piece := os.read(fd, PIECE_BYTES):
                    found.update(piece)
                    take(memoryview(piece))
    finally:
        os.close(fd)
    if found.digest() != digest:
        raise SourceChangedError(
            f"{path} is not the file any more that was received", hint="it was changed there"
        )
    return digest.hex()
