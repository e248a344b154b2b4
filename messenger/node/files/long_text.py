"""A long text that came as a file, read piece by piece: neither the node nor the command holds all of it in memory."""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable, Iterator
from typing import Final

from peerpost.store.files.sealed import End, SealedFile

__all__ = ["PIECE_BYTES", "LongText"]

PIECE_BYTES: Final = 128 << 10
"""Decoded and handed on at a time."""


class LongText:
    """The text in a sealed file. All methods block; they may be called from different threads, one after another."""

    def __init__(self, open_file: Callable[[], SealedFile], end: End) -> None:
        """Prepare to read; the file is opened by `check`."""
        self._open = open_file
        self._end = end
        self._file: SealedFile | None = None
        self._closed = False
        self._pieces: Iterator[str] = iter(())
        # A reader that leaves closes the file while a thread may still be reading it.
        self._turn = threading.Lock()

    def check(self) -> None:
        """Open the file and check all of it, so that nothing of a damaged text is shown. Raises StorageError."""
        with self._turn:
            if self._closed:
                return
            self._file = self._open()
            for _ in self._file.plain(self._end):
                pass
            self._pieces = self._decoded(self._file)

    def next(self) -> str | None:
        """Return the next piece, None at the end; bytes that are no UTF-8 are replaced. Raises StorageError."""
        with self._turn:
            return None if self._closed else next(self._pieces, None)

    def close(self) -> None:
        """Close the file, once nobody is reading it; again is harmless."""
        with self._turn:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None

    def _decoded(self, file: SealedFile) -> Iterator[str]:
        # The decoder keeps the beginning of a character whose end is in the next piece.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for plain in file.plain(self._end):
            for at in range(0, len(plain), PIECE_BYTES):
                yield decoder.decode(plain[at : at + PIECE_BYTES])
        yield decoder.decode(b"", final=True)
