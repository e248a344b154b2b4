"""Noise transport messages on a byte stream: a u16 big-endian length, then ChaCha20-Poly1305 with a counter nonce.

Source: the Noise Protocol Framework, revision 34, section 5.1 and 12.3; the libp2p Noise specification for the
length. The keys come from a finished handshake.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerpost.errors import ProtocolError

__all__ = ["MAX_WIRE_BYTES", "Inbound", "RecordOpener", "RecordSealer"]

TAG_BYTES = 16
LENGTH = struct.Struct("!H")
LENGTH_BYTES = LENGTH.size
OVERHEAD_BYTES = LENGTH_BYTES + TAG_BYTES
MAX_WIRE_BYTES = LENGTH_BYTES + 65535
"""The largest record on the wire."""
RECEIVE_BYTES = 256 * 1024
"""What one call of the kernel may bring."""
MAX_NONCE = 2**64 - 2
"""2^64 - 1 is reserved by Noise."""
REUSED_BYTES = 64 * 1024
"""A buffer smaller than this is not worth keeping."""
NOT_AUTHENTIC = "a record of the connection is not authentic"


def _nonce(counter: int) -> bytes:
    return b"\0\0\0\0" + counter.to_bytes(8, "little")


class RecordSealer:
    """Our direction."""

    def __init__(self, key: bytes, counter: int) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._counter = counter
        self._lent: memoryview | None = None
        self._spare: memoryview | None = None

    def seal(self, plaintexts: Sequence[bytes | memoryview]) -> bytes:
        """Return one record for each plaintext, concatenated."""
        return bytes(self.batch(plaintexts))

    def batch(self, plaintexts: Sequence[bytes | memoryview]) -> memoryview:
        """Return the same in a buffer that `recycle` takes back."""
        out = self._room(sum(map(len, plaintexts)) + OVERHEAD_BYTES * len(plaintexts))
        at = 0
        for plaintext in plaintexts:
            if self._counter > MAX_NONCE:
                raise ProtocolError("the connection has used all its nonces")
            size = len(plaintext) + TAG_BYTES
            LENGTH.pack_into(out, at, size)
            at += LENGTH_BYTES
            self._aead.encrypt_into(_nonce(self._counter), plaintext, None, out[at : at + size])
            self._counter += 1
            at += size
        return out

    def recycle(self) -> None:
        """Allow the buffer of the last batch to be used again: its data has been written."""
        if self._lent is not None:
            self._spare, self._lent = self._lent, None

    def _room(self, size_bytes: int) -> memoryview:
        if size_bytes < REUSED_BYTES:
            self._lent = None
            return memoryview(bytearray(size_bytes))
        spare, self._spare = self._spare, None
        if spare is None or len(spare) < size_bytes:
            spare = memoryview(bytearray(size_bytes))
        self._lent = spare
        return spare[:size_bytes]


class RecordOpener:
    """The peer's direction."""

    def __init__(self, key: bytes, counter: int) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._counter = counter

    def open(self, record: memoryview) -> bytes:
        """Return the plaintext of a record, its length taken off. Raises ProtocolError."""
        try:
            plaintext = self._aead.decrypt(_nonce(self._counter), record, None)
        except InvalidTag:
            raise ProtocolError(NOT_AUTHENTIC) from None
        self._counter += 1
        return plaintext

    def open_into(self, record: memoryview, out: memoryview) -> int:
        """Put the plaintext of a record at the start of `out`; return its size. Raises ProtocolError."""
        size = len(record) - TAG_BYTES
        if size < 0:
            raise ProtocolError(NOT_AUTHENTIC)
        try:
            self._aead.decrypt_into(_nonce(self._counter), record, None, out[:size])
        except InvalidTag:
            raise ProtocolError(NOT_AUTHENTIC) from None
        self._counter += 1
        return size


class Inbound:
    """The buffer for arriving bytes, and the complete records in it."""

    def __init__(self, opener: RecordOpener) -> None:
        self._opener = opener
        self._view = memoryview(bytearray(RECEIVE_BYTES + MAX_WIRE_BYTES))
        self._start = self._end = 0

    def close(self) -> None:
        """Release the buffer: nothing arrives any more."""
        self._view = memoryview(b"")
        self._start = self._end = 0

    def room(self) -> memoryview:
        """Return where to put the next bytes: room for at least one record."""
        if len(self._view) - self._end < MAX_WIRE_BYTES:
            rest = self._end - self._start
            self._view[:rest] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def received(self, size_bytes: int) -> tuple[bytes | memoryview, str | None]:
        """Take the bytes that were put there; return the plaintext of the complete records, and what is wrong after it.

        Many records become one piece, because readers have a cost for each piece.
        """
        self._end += size_bytes
        records = self._whole()
        try:
            if len(records) == 1:
                return self._opener.open(records[0]), None
            return self._open_all(records)
        except ProtocolError as error:
            return b"", error.message

    def _whole(self) -> list[memoryview]:
        """Take the complete records."""
        view, at, end = self._view, self._start, self._end
        records: list[memoryview] = []
        while end - at >= LENGTH_BYTES:
            stop = at + LENGTH_BYTES + (view[at] << 8 | view[at + 1])
            if stop > end:
                break
            records.append(view[at + LENGTH_BYTES : stop])
            at = stop
        self._start, self._end = (0, 0) if at == end else (at, end)
        return records

    def _open_all(self, records: list[memoryview]) -> tuple[memoryview, str | None]:
        size = sum(map(len, records))
        # A large buffer is always allocated with the largest size: so the allocator can reuse a freed block for the
        # next one. Below half of that size, memory matters more.
        most = RECEIVE_BYTES + MAX_WIRE_BYTES
        out = memoryview(bytearray(size if 2 * size < most else most))
        at = 0
        for record in records:
            try:
                at += self._opener.open_into(record, out[at:])
            except ProtocolError as error:
                return out[:at], error.message
        return out[:at], None
