"""Makes what we wrote survive a power cut: our own files and folders, and nobody else's.

Flushing a whole file system (sync, syncfs) is quick on an idle machine, but on a busy one it waits for everything that
others write. Flushing several files at once costs little more than one: the file system commits them together.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from peerpost import system

__all__ = ["Flusher"]

_THREADS = 32
_MOST_OPEN = 64
"""How many open files may wait to be flushed."""


class Flusher:
    """Flushes files in threads, while others are still being written."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="flush")
        self._places = threading.Semaphore(_MOST_OPEN)
        self._failure: OSError | None = None

    def take(self, fd: int) -> None:
        """Flush a file or folder soon, and close it. Raises OSError if an earlier one could not be flushed."""
        self._places.acquire()
        try:
            self._require_well()
            self._threads.submit(self._flush, fd)
        except BaseException:
            os.close(fd)
            self._places.release()
            raise

    def _flush(self, fd: int) -> None:
        try:
            try:
                system.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            self._failure = self._failure or error
        finally:
            self._places.release()

    def _require_well(self) -> None:
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Wait until all that was taken is on the disk. Raises OSError if something is not."""
        for _ in range(_MOST_OPEN):
            self._places.acquire()
        self._places.release(_MOST_OPEN)
        self._require_well()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True)
