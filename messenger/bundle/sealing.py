"""The outer layer of an encrypted bundle: its bytes in the container of `crypto.container`, under a passphrase."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from peerpost.crypto.container import (
    BUNDLE,
    HEADER_BYTES,
    OPENING_BYTES,
    PIECE_BYTES,
    SALT_BYTES,
    SEALED_BYTES,
    ContainerOpener,
    ContainerSealer,
    Opening,
    cut,
)
from peerpost.crypto.passphrase import Cost, calibrate, derive, require_memory
from peerpost.errors import BadInputError
from peerpost.system import free_memory_bytes

from .record import bad

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["MAGIC", "SealingFile", "Unlock", "unsealed"]

Unlock: TypeAlias = Callable[[Callable[[bytes], ContainerOpener]], ContainerOpener]
"""Returns what its argument makes of the right passphrase; for a wrong one that raises WrongPassphraseError."""

MAGIC: Final = BUNDLE.magic
"""How an encrypted bundle begins."""


class SealingFile(io.RawIOBase):
    """A file that seals what is written to it, from its beginning to its end, and writes that to another one."""

    def __init__(self, out: io.RawIOBase | io.BufferedIOBase, secret: bytes) -> None:
        """Derive a key, which takes a second, and write the opening. Raises ShortMemoryError."""
        cost = calibrate(time.thread_time, free_memory_bytes())
        opening = Opening(
            memory_kib=cost.memory_kib,
            passes=cost.passes,
            lanes=cost.lanes,
            salt=os.urandom(SALT_BYTES),
            header=os.urandom(HEADER_BYTES),
            container=BUNDLE,
        )
        self._sealer = ContainerSealer(derive(secret, opening.salt, cost), opening)
        self._out = out
        self._waiting = bytearray()
        out.write(self._sealer.opening)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Take more bytes."""
        given = memoryview(data).cast("B")
        self._waiting += given
        # At least one byte stays for the last piece.
        at = 0
        while len(self._waiting) - at > PIECE_BYTES:
            piece = bytes(self._waiting[at : at + PIECE_BYTES])
            self._out.write(self._sealer.seal(piece, last=False))
            at += PIECE_BYTES
        del self._waiting[:at]
        return len(given)

    def end(self) -> None:
        """Write the end: what comes without it was cut off."""
        self._out.write(self._sealer.seal(bytes(self._waiting), last=True))


def unsealed(read: Callable[[int], bytes], unlock: Unlock) -> Iterator[bytes]:
    """Yield what is in an encrypted bundle, piece by piece.

    `read` returns so many bytes, fewer at the end alone; `unlock` finds the passphrase. Raises WrongPassphraseError,
    ShortMemoryError, and BadInputError for what is damaged, or cut off: do not use what came before then.
    """
    opening = Opening.parse(read(OPENING_BYTES), BUNDLE)
    try:
        cost = Cost.parse((opening.memory_kib, opening.passes, opening.lanes))
    except BadInputError as error:
        raise bad(error.message) from None
    require_memory(cost, free_memory_bytes())

    def attempt(secret: bytes) -> ContainerOpener:
        return ContainerOpener(derive(secret, opening.salt, cost), opening)

    opener = unlock(attempt)
    is_last = False
    while not is_last:
        sealed = read(SEALED_BYTES)
        piece, is_last = opener.open(sealed)
        if not is_last and len(sealed) < SEALED_BYTES:
            raise cut(BUNDLE.noun)
        yield piece
    if read(1):
        raise bad("something follows its end")
