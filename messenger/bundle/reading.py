"""Reads a bundle that anybody may have made: first all of it is checked, then it is read again, message by message.

Nothing of it is believed before the check has passed, and the check holds little: the names of the files that are in
it, and two numbers for each message, by which one that is there twice is found.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .record import (
    CONTACTS,
    DIGEST_BYTES,
    FILES,
    MANIFEST,
    MAX_LINE_BYTES,
    MAX_MANIFEST_BYTES,
    MESSAGES,
    BundleManifest,
    Card,
    Record,
    bad,
    decode_card,
    decode_manifest,
    decode_record,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MAX_FILES", "MAX_MESSAGES", "BundleReader", "blake2b"]

MAX_FILES: Final = 100_000
"""How many files a bundle may have: their names are held in memory."""
MAX_MESSAGES: Final = 20_000_000
"""How many messages: sixteen bytes of each are held in memory."""
MAX_CONTACTS: Final = 100_000
_MAX_DIRECTORY_BYTES: Final = 16 << 20
"""The directory of an archive with MAX_FILES files takes less."""
_PIECE_BYTES: Final = 256 << 10
_FILE: Final = re.compile(rf"{FILES}[0-9a-f]{{64}}\Z")
_PARTS: Final = (MANIFEST, CONTACTS, MESSAGES)
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def blake2b() -> hashlib.blake2b:
    """Return the hash by which files and parts of a bundle are known."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


class BundleReader:
    """An archive that is open for reading. Every method raises BadInputError for one that is not as it should be."""

    def __init__(self, file: io.RawIOBase) -> None:
        """Look at what is in a file, which must be seekable, and read the manifest."""
        with _damage():
            self._zip = zipfile.ZipFile(io.BufferedReader(_Bounded(file), _PIECE_BYTES))
        self._files: dict[str, zipfile.ZipInfo] = {}
        parts: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            self._look_at(info, parts)
        for part in _PARTS:
            if part not in parts:
                raise bad(f"{part} is not in it")
        self._parts = parts
        self.manifest = self._manifest()

    def _look_at(self, info: zipfile.ZipInfo, parts: dict[str, zipfile.ZipInfo]) -> None:
        name = info.orig_filename
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise bad("it is packed in a way that no bundle is")
        is_file = _FILE.match(name) is not None
        if not is_file and name not in _PARTS:
            raise bad(f"{name[:100]!r} is in it, and in no bundle")
        into = self._files if is_file else parts
        if name in into:
            raise bad(f"{name} is in it twice")
        into[name] = info
        if len(self._files) > MAX_FILES:
            raise bad(f"it has more than {MAX_FILES} files")

    def _manifest(self) -> BundleManifest:
        if self._parts[MANIFEST].file_size > MAX_MANIFEST_BYTES:
            raise bad(f"{MANIFEST} is too long")
        with _damage(), self._zip.open(self._parts[MANIFEST]) as part:
            manifest = decode_manifest(part.read(MAX_MANIFEST_BYTES + 1))
        if manifest.messages > MAX_MESSAGES or manifest.contacts > MAX_CONTACTS:
            raise bad(f"it has more than {MAX_MESSAGES} messages or {MAX_CONTACTS} contacts")
        if manifest.files != len(self._files):
            raise bad(f"{MANIFEST} says {manifest.files} files, and {len(self._files)} are in it")
        return manifest

    @property
    def total_bytes(self) -> int:
        """How many bytes are in it, unpacked, as its directory says."""
        every = [*self._parts.values(), *self._files.values()]
        return sum(info.file_size for info in every)

    def check(self, on_bytes: Callable[[int], object] = lambda _: None) -> int:
        """Read all of it, and return how many bytes its messages take, each with its file.

        `on_bytes` is told how many more were read.
        """
        cards = {card.id for card in self.cards()}
        if len(cards) != self.manifest.contacts:
            raise bad("a contact is in it twice")
        twice = _Twice()
        wanted: set[str] = set()
        total = 0
        for record in self.records(on_bytes):
            if record.contact not in cards:
                raise bad(f"the message {record.id} is of a contact that is not in it")
            twice.add(record)
            total += 1024 + (record.size or 0)
            if record.file is not None:
                self._require_file(record)
                wanted.add(FILES + record.file)
        twice.require_none()
        if wanted != set(self._files):
            raise bad("a file is in it that no message has")
        return total

    def check_files(self, on_bytes: Callable[[int], object] = lambda _: None) -> None:
        """Read every file, once there is room for all: what its name says is in it must be."""
        for name in self._files:
            for piece in self.file(name.removeprefix(FILES)):
                on_bytes(len(piece))

    def _require_file(self, record: Record) -> None:
        info = self._files.get(f"{FILES}{record.file}")
        if info is None:
            raise bad(f"the file of the message {record.id} is not in it")
        if info.file_size != record.size:
            raise bad(f"the file of the message {record.id} has another size")

    def cards(self) -> Iterator[Card]:
        """Yield the cards of the contacts."""
        lines = self._lines(CONTACTS, self.manifest.contacts, self.manifest.contacts_blake2b)
        for number, line in lines:
            yield decode_card(line, number)

    def records(self, on_bytes: Callable[[int], object] = lambda _: None) -> Iterator[Record]:
        """Yield the messages, the newest of each direction first."""
        lines = self._lines(MESSAGES, self.manifest.messages, self.manifest.messages_blake2b)
        for number, line in lines:
            on_bytes(len(line) + 1)
            yield decode_record(line, number)

    def _lines(self, name: str, count: int, digest: str) -> Iterator[tuple[int, bytes]]:
        """Yield each line of a part, with its number from 1, if it has so many lines and this hash."""
        hasher = blake2b()
        number = 0
        with self._opened(self._parts[name]) as part:
            buffered = io.BufferedReader(part, _PIECE_BYTES)
            while True:
                with _damage():
                    line = buffered.readline(MAX_LINE_BYTES + 1)
                if not line:
                    break
                hasher.update(line)
                number += 1
                if number > count or not line.endswith(b"\n"):
                    raise bad(f"{name}, line {number}: it is too long, or one too many")
                yield number, line[:-1]
        if number != count or hasher.hexdigest() != digest:
            raise bad(f"{name} is not the one that {MANIFEST} tells of")

    def file(self, digest: str) -> Iterator[bytes]:
        """Yield the pieces of a file; an error after the last one if they are not what its name says."""
        info = self._files[FILES + digest]
        hasher = blake2b()
        size = 0
        with self._opened(info) as part:
            while True:
                with _damage():
                    piece = part.read(_PIECE_BYTES)
                if not piece:
                    break
                hasher.update(piece)
                size += len(piece)
                yield piece
        if hasher.hexdigest() != digest or size != info.file_size:
            raise bad(f"{info.filename} is not what its name says")

    @contextmanager
    def _opened(self, info: zipfile.ZipInfo) -> Iterator[zipfile.ZipExtFile]:
        with _damage():
            part = self._zip.open(info)
        try:
            yield part  # type: ignore[misc]  # it is opened for reading
        finally:
            part.close()

    def close(self) -> None:
        """Close the archive; the file stays open."""
        self._zip.close()


class _Twice:
    """Finds ids and numbers that are in a bundle twice."""

    def __init__(self) -> None:
        self._ids = array("Q")
        self._numbers = array("Q")
        # Keyed, so that nobody can make two different messages look like one.
        self._key = os.urandom(16)

    def add(self, record: Record) -> None:
        """Take one message."""
        self._ids.append(self._short(record.direction, record.id))
        number = (record.outbox, record.lane, record.seq, record.sent_ms)
        self._numbers.append(self._short(record.direction, record.contact, *number))

    def _short(self, *what: object) -> int:
        data = repr(what).encode()
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=self._key).digest(), "big")

    def require_none(self) -> None:
        """Raise BadInputError if one is there twice."""
        for what, found in (("id", self._ids), ("number", self._numbers)):
            last = None
            for one in sorted(found):
                if one == last:
                    raise bad(f"two messages have one {what}")
                last = one


class _Bounded(io.RawIOBase):
    """A file of which no more is read at once than a bundle may need: the directory is read in one go."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            # A place before the beginning, or beyond what a file can have.
            raise ValueError(str(error)) from None

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, room: WriteableBuffer, /) -> int | None:
        if memoryview(room).nbytes > _MAX_DIRECTORY_BYTES:
            raise bad("its directory is too long")
        read: int | None = self._file.readinto(room)
        return read


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what the archive's library raises for anything that is wrong into BadInputError."""
    try:
        yield
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
        *(struct.error, ValueError, OverflowError, KeyError, IndexError, TypeError),
    ) as error:
        raise bad(f"{error}"[:200] or type(error).__name__) from None
