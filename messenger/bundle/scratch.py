"""A file without a name, in which what came through a pipe or out of a container can be read again, at any place.

It is encrypted under a key that is in memory alone, so that what is left of it on the disk tells nobody anything.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nacl import bindings
from nacl.exceptions import CryptoError

from peerpost.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Scratch"]

BLOCK_BYTES: Final = 64 << 10
_TAG_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
_NONCE_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_KEY_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES


class Scratch(io.RawIOBase):
    """What was written once, to be read."""

    def __init__(self, folder: Path, pieces: Iterable[bytes]) -> None:
        """Take all that comes. Raises StorageError, and what `pieces` raises."""
        self._key = os.urandom(_KEY_BYTES)
        self._size = 0
        self._at = 0
        self._block = (-1, b"")
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this
        except OSError as error:
            raise StorageError(f"cannot write to {folder}: {error.strerror}") from None
        try:
            self._fill(pieces)
        except BaseException:
            self._file.close()
            raise

    def _fill(self, pieces: Iterable[bytes]) -> None:
        waiting = bytearray()
        count = 0
        for piece in pieces:
            waiting += piece
            while len(waiting) >= BLOCK_BYTES:
                self._seal(count, bytes(waiting[:BLOCK_BYTES]))
                del waiting[:BLOCK_BYTES]
                count += 1
        self._size = count * BLOCK_BYTES + len(waiting)
        self._seal(count, bytes(waiting))

    def _seal(self, number: int, block: bytes) -> None:
        sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            block, None, _nonce(number), self._key
        )
        try:
            self._file.write(sealed)
        except OSError as error:
            raise StorageError(f"cannot keep the bundle meanwhile: {error.strerror}") from None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, room: WriteableBuffer, /) -> int:
        """Fill a buffer as far as one block goes; 0 is the end."""
        view = memoryview(room).cast("B")
        number, offset = divmod(self._at, BLOCK_BYTES)
        if self._at >= self._size or not view:
            return 0
        part = self._opened(number)[offset : offset + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _opened(self, number: int) -> bytes:
        if self._block[0] != number:
            try:
                self._file.seek(number * (BLOCK_BYTES + _TAG_BYTES))
                sealed = self._file.read(BLOCK_BYTES + _TAG_BYTES)
                block = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                    sealed, None, _nonce(number), self._key
                )
            except (OSError, CryptoError, ValueError) as error:
                raise StorageError(f"cannot read what was kept of the bundle: {error}") from None
            self._block = (number, block)
        return self._block[1]

    def close(self) -> None:
        """Close the file, which is gone with that."""
        if not self.closed:
            self._file.close()
        super().close()


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE_BYTES, "big")
