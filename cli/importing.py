"""`inbox import`: a bundle that anybody may have made, checked as a whole, and then handed to the node."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from peerpost.bundle.reading import BundleReader
from peerpost.bundle.record import Card, Record
from peerpost.bundle.scratch import Scratch
from peerpost.bundle.sealing import MAGIC, Unlock, unsealed
from peerpost.errors import BadInputError, NoInputError, StoreFullError

from .app import App
from .piped import give

__all__ = ["BundleImport", "opened"]

_ZIP: Final = b"PK"
_BACKUP: Final = b"peerpost-backup"
_PIECE_BYTES: Final = 256 << 10
_BATCH_BYTES: Final = 384 << 10
"""How much a request carries, but one message in any case: the node takes 1 MiB."""
_BATCH_ROWS: Final = 500


@contextmanager
def opened(app: App, fd: int, unlock: Unlock, *, dry_run: bool) -> Iterator[BundleImport]:
    """Open the bundle that a descriptor leads to. `unlock` finds the passphrase of one that is encrypted.

    What cannot be read at any place is kept in the home meanwhile. Raises BadInputError for what is no bundle,
    WrongPassphraseError, ShortMemoryError, StorageError.
    """
    raw = io.FileIO(fd, closefd=False)
    begins = _read(raw, len(MAGIC))
    if not begins.startswith(_ZIP) and begins != MAGIC:
        raise _no_bundle(begins)
    file: io.RawIOBase
    if begins == MAGIC:
        ahead = [begins]

        def read(count: int) -> bytes:
            return (waiting := ahead.pop() if ahead else b"") + _read(raw, count - len(waiting))

        file = Scratch(app.home, unsealed(read, unlock))
    elif stat.S_ISREG(os.fstat(fd).st_mode):
        raw.seek(0)
        file = raw
    else:
        file = Scratch(app.home, _pieces(begins, raw))
    try:
        reader = BundleReader(file)
        try:
            yield BundleImport(app, reader, dry_run=dry_run)
        finally:
            reader.close()
    except OSError as error:
        raise NoInputError(f"cannot read the bundle: {error.strerror or error}") from None
    finally:
        file.close()


def _no_bundle(begins: bytes) -> BadInputError:
    if begins == _BACKUP:
        return BadInputError(
            "this is a backup of a home, and no bundle", hint="see: peerpost backup restore --help"
        )
    if begins.lstrip()[:1] in (b"{", b"<"):
        return BadInputError(
            "this is no bundle: lines of JSON and pages are for other programs and for people",
            hint="export it again without --format",
        )
    return BadInputError(
        "this is no bundle of Peerpost", hint="a bundle is what `peerpost inbox export` makes"
    )


def _read(raw: io.RawIOBase, count: int) -> bytes:
    """Return so many bytes; fewer only at the end."""
    found = bytearray()
    while len(found) < count and (piece := raw.read(count - len(found))):
        found += piece
    return bytes(found)


def _pieces(first: bytes, raw: io.RawIOBase) -> Iterator[bytes]:
    yield first
    while piece := raw.read(_PIECE_BYTES):
        yield piece


class BundleImport:
    """One import."""

    def __init__(self, app: App, bundle: BundleReader, *, dry_run: bool) -> None:
        self._app = app
        self._bundle = bundle
        self.manifest = bundle.manifest
        self.total_bytes = (2 if dry_run else 3) * bundle.total_bytes
        """How many bytes will be read, of which `on_bytes` is told as it goes on."""
        self.on_bytes: Callable[[int], object] = lambda _: None
        self._dry_run = dry_run
        self._cards: dict[str, Card] = {}
        self.imported = 0
        self.duplicates = 0
        self.renamed = 0

    def check(self) -> None:
        """Read all of the bundle, and say what is wrong with it before anything is changed.

        Raises BadInputError, and StoreFullError if it does not fit on the disk of the home.
        """
        total = self._bundle.check(self.on_bytes)
        free = shutil.disk_usage(self._app.home).free
        if total > free:
            raise StoreFullError(
                f"what is in the bundle takes {-(-total >> 20)} MiB, and {free >> 20} MiB are free",
                hint="free some space on the disk of the home folder; nothing was changed",
            )
        self._bundle.check_files(self.on_bytes)
        self._cards = {card.id: card for card in self._bundle.cards()}

    def run(self) -> None:
        """Hand all of it to the node. What is here already is passed over, so that it can be run again."""
        batch: list[Record] = []
        size = 0
        for record in self._bundle.records(self.on_bytes):
            if record.file is not None and not self._dry_run:
                # The order counts: what came before it is imported before it.
                self._take(batch)
                batch, size = [], 0
                self._take_with_file(record)
                continue
            batch.append(record)
            size += 512 + 6 * len(record.text or record.body or "")
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_ROWS:
                self._take(batch)
                batch, size = [], 0
        self._take(batch)

    def _take(self, records: list[Record]) -> None:
        if records:
            self._note(self._app.call("inbox.import", self._params(records)))

    def _params(self, records: list[Record]) -> dict[str, Any]:
        contacts = dict.fromkeys(record.contact for record in records)
        params = {
            "cards": [msgspec.to_builtins(self._cards[contact]) for contact in contacts],
            "records": [msgspec.to_builtins(record) for record in records],
        }
        return params | {"dry_run": True} if self._dry_run else params

    def _note(self, taken: dict[str, int]) -> None:
        self.imported += taken["imported"]
        self.duplicates += taken["duplicates"]
        self.renamed += taken["renamed"]

    def _take_with_file(self, record: Record) -> None:
        """Import a message with its file, which is checked once more while it goes to the node."""
        params = self._params([record]) | {"file": True}
        self._note(
            give(
                self._app.home,
                lambda fd: self._app.call("inbox.import", params, fds=[fd]),
                self._pieces(record.file or ""),
            )
        )

    def _pieces(self, digest: str) -> Iterator[bytes]:
        for piece in self._bundle.file(digest):
            yield piece
            self.on_bytes(len(piece))
