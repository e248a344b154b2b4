"""Noise transport messages on a byte stream: a u16 big-endian length, then ChaCha20-Poly1305 with a counter nonce.

Source: the Noise Protocol Framework, revision 34, section 5.1 and 12.3; the libp2p Noise specification for the
length. The keys come from a finished handshake.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerpost.errors import ProtocolError

__all__ = ["MAX_WIRE_BYTES", "Inbound", "Opener", "Sealer"]

TAG_BYTES = 16
LENGTH_BYTES = 2
MAX_WIRE_BYTES = LENGTH_BYTES + 65535
"""The largest record on the wire."""
RECEIVE_BYTES = 256 * 1024
"""What one call of the kernel may bring."""
MAX_NONCE = 2**64 - 2
"""2^64 - 1 is reserved by Noise."""


def _nonce(counter: int) -> bytes:
    return b"\0\0\0\0" + counter.to_bytes(8, "little")


class Sealer:
    """Our direction."""

    def __init__(self, key: bytes, counter: int) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._counter = counter

    def seal(self, plaintexts: Sequence[bytes]) -> bytes:
        """Return one record for each plaintext, concatenated."""
        return b"".join(self.records(plaintexts))

    def records(self, plaintexts: Sequence[bytes]) -> list[bytes]:
        """Return one record for each plaintext, as buffers that follow one another."""
        parts: list[bytes] = []
        for plaintext in plaintexts:
            if self._counter > MAX_NONCE:
                raise ProtocolError("the connection has used all its nonces")
            sealed = self._aead.encrypt(_nonce(self._counter), plaintext, None)
            self._counter += 1
            parts.append(len(sealed).to_bytes(LENGTH_BYTES, "big"))
            parts.append(sealed)
        return parts


class Opener:
    """The peer's direction."""

    def __init__(self, key: bytes, counter: int) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._counter = counter

    def next(self, view: memoryview) -> tuple[bytes, int] | None:
        """Open the record at the start of view: its plaintext and its size on the wire.

        None while it has not arrived whole. Raises ProtocolError where it is not authentic.
        """
        if len(view) < LENGTH_BYTES:
            return None
        end = LENGTH_BYTES + (view[0] << 8 | view[1])
        if len(view) < end:
            return None
        try:
            plaintext = self._aead.decrypt(_nonce(self._counter), view[LENGTH_BYTES:end], None)
        except InvalidTag:
            raise ProtocolError("a record of the connection is not authentic") from None
        self._counter += 1
        return plaintext, end


class Inbound:
    """What arrives: room for it, and the records in it that are whole."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._view = memoryview(bytearray(RECEIVE_BYTES + MAX_WIRE_BYTES))
        self._start = self._end = 0

    def room(self) -> memoryview:
        """Return where to put what comes next: room for one record at least."""
        if len(self._view) - self._end < MAX_WIRE_BYTES:
            rest = self._end - self._start
            self._view[:rest] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def received(self, size_bytes: int) -> tuple[list[bytes], str | None]:
        """Take what was put there; return the records that are whole, opened, and what is wrong behind them.

        All are opened before any is read: the cipher and the interpreter drive each other out of the
        processor's caches.
        """
        self._end += size_bytes
        plaintexts: list[bytes] = []
        wrong = None
        try:
            while (record := self._opener.next(self._view[self._start : self._end])) is not None:
                plaintext, size = record
                self._start += size
                plaintexts.append(plaintext)
        except ProtocolError as error:
            wrong = error.message
        if self._start == self._end:
            self._start = self._end = 0
        return plaintexts, wrong
