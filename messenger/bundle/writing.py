"""Writes a bundle, from its beginning to its end: into a file, or into a pipe."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from peerpost.errors import UsageError

from .reading import MAX_FILES, MAX_MESSAGES, blake2b
from .record import (
    CONTACTS,
    FILES,
    FORMAT,
    MANIFEST,
    MESSAGES,
    VERSION,
    BundleManifest,
    Card,
    Owner,
    Record,
    encode,
)

__all__ = ["BundleWriter"]

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The time of all entries: what an archive says of them is said better inside."""


class BundleWriter:
    """A bundle that is being written: `messages`, then `contacts`, then `file` for each of `files`, then `end`."""

    def __init__(self, out: io.RawIOBase | io.BufferedIOBase, owner: Owner, made_ms: int) -> None:
        self._zip = zipfile.ZipFile(out, "w", allowZip64=True)
        self._owner = owner
        self._made_ms = made_ms
        self._counts: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self.files: dict[str, Record] = {}
        """A message of each file that is to be written, by its hash."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Without this, an archive that is not complete would try to end itself once nobody holds it.
        self._zip.fp = None

    @property
    def count(self) -> int:
        """How many messages are in it."""
        return self._counts.get(MESSAGES, 0)

    def messages(self, records: Iterable[Record]) -> None:
        """Write the messages, the newest of each direction first. Raises UsageError if they are too many."""
        self._lines(MESSAGES, self._noted(records))

    def _noted(self, records: Iterable[Record]) -> Iterator[Record]:
        for count, record in enumerate(records, 1):
            if record.file is not None:
                self.files.setdefault(record.file, record)
            if len(self.files) > MAX_FILES or count > MAX_MESSAGES:
                raise UsageError(
                    f"a bundle has at most {MAX_FILES} files and {MAX_MESSAGES} messages",
                    hint="export in parts: --contact NAME, or --since T",
                )
            yield record

    def contacts(self, cards: Iterable[Card]) -> None:
        """Write the cards of the contacts."""
        self._lines(CONTACTS, cards)

    def _lines(self, name: str, forms: Iterable[Card | Record]) -> None:
        hasher = blake2b()
        count = 0
        with self._entry(name, zipfile.ZIP_DEFLATED) as write:
            for form in forms:
                line = encode(form) + b"\n"
                hasher.update(line)
                write(line)
                count += 1
        self._counts[name], self._digests[name] = count, hasher.hexdigest()

    @contextmanager
    def file(self, digest: str) -> Iterator[Callable[[bytes], object]]:
        """Give a function that takes the bytes of a file, whose hash is known."""
        # What is sent is packed already, most of the time.
        with self._entry(FILES + digest, zipfile.ZIP_STORED) as write:
            hasher = hashlib.blake2b(digest_size=len(digest) // 2)

            def take(piece: bytes) -> None:
                hasher.update(piece)
                write(piece)

            yield take
            if hasher.hexdigest() != digest:
                raise ValueError("a file is not what it was a moment ago")

    def end(self) -> BundleManifest:
        """Write what the bundle is, and its end."""
        manifest = BundleManifest(
            format=FORMAT,
            version=VERSION,
            made_ms=self._made_ms,
            owner=self._owner,
            messages=self._counts[MESSAGES],
            contacts=self._counts[CONTACTS],
            files=len(self.files),
            messages_blake2b=self._digests[MESSAGES],
            contacts_blake2b=self._digests[CONTACTS],
        )
        with self._entry(MANIFEST, zipfile.ZIP_DEFLATED) as write:
            write(encode(manifest) + b"\n")
        self._zip.close()
        return manifest

    @contextmanager
    def _entry(self, name: str, method: int) -> Iterator[Callable[[bytes], object]]:
        info = zipfile.ZipInfo(name, _EPOCH)
        info.compress_type = method
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as entry:
            yield entry.write
