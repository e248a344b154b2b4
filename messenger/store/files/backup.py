"""What is in a backup: the files of a home one after the other, written to and read from the sealed container.

    plaintext = *entry %x00
    entry     = name-length name size content      ; one octet, ASCII, u64

The first entry is `manifest`, a JSON object that says what follows. Every length is bounded before anything is
allocated for it, and no name leads anywhere but to the places of a home that are known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from peerpost.crypto.container import (
    OPENING_BYTES,
    PIECE_BYTES,
    SEALED_BYTES,
    ContainerOpener,
    ContainerSealer,
    Opening,
    cut,
    damaged,
)
from peerpost.errors import BadInputError

__all__ = ["FOLDERS", "BackupReader", "BackupWriter", "Manifest"]

MANIFEST: Final = "manifest"
FOLDERS: Final = ("blobs", "spool")
"""The folders of a home that are in a backup, unless it is without files."""
_MAX_SMALL_BYTES: Final = {MANIFEST: 4096, "keyfile": 4096, "config.toml": 1 << 20}
_MAX_BYTES: Final = 1 << 50
_NAME: Final = re.compile(
    r"keyfile|store\.db|config\.toml|(?:blobs|spool)/[0-9A-Za-z_-]{1,128}\.(?:sealed|leaves)"
)
_SIZE_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself."""

    made_ms: int
    version: str
    """Of Peerpost, which made it."""
    schema: int
    """Of the store."""
    entries: int
    total_bytes: int
    """Of all contents together."""
    files: bool
    """Whether files that were received or wait to be sent are in it."""

    def encode(self) -> bytes:
        """Return it as it is written."""
        return json.dumps({"v": 1, **asdict(self)}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Take apart what `encode` has made; entries of later versions are passed over. Raises BadInputError."""
        try:
            found = json.loads(data)
            said: dict[str, Any] = {name: found[name] for name in cls.__slots__}
        except (ValueError, LookupError, TypeError, RecursionError):
            raise damaged("what it says of itself") from None
        numbers = ("made_ms", "schema", "entries", "total_bytes")
        right = all(type(said[name]) is int and 0 <= said[name] < 1 << 53 for name in numbers)
        if not (right and type(said["files"]) is bool and isinstance(said["version"], str)):
            raise damaged("what it says of itself")
        if found.get("v") != 1:
            raise BadInputError("the backup is of a later version", hint="update Peerpost")
        return cls(**said)


class BackupWriter:
    """Writes a backup from its beginning to its end."""

    def __init__(
        self, sealer: ContainerSealer, write: Callable[[memoryview], object], manifest: Manifest
    ) -> None:
        """Begin. `write` takes the bytes as they come, and raises what it likes."""
        self._sealer = sealer
        self._write = write
        self._waiting = bytearray()
        write(memoryview(sealer.opening))
        said = manifest.encode()
        self.add(MANIFEST, len(said), [said])

    def add(self, name: str, size: int, content: Iterable[bytes]) -> None:
        """Write a file whose pieces have `size` bytes together. Raises ValueError if they have not."""
        head = name.encode("ascii")
        self._put(bytes([len(head)]) + head + size.to_bytes(_SIZE_BYTES, "big"))
        left = size
        for piece in content:
            left -= len(piece)
            self._put(piece)
        if left:
            raise ValueError(f"{name} has not the size that was said")

    def end(self) -> None:
        """Write the end: what comes without it was cut off."""
        self._put(b"\0")
        self._write(memoryview(self._sealer.seal(bytes(self._waiting), last=True)))
        self._waiting.clear()

    def _put(self, data: bytes) -> None:
        self._waiting += data
        # The last piece has at least one byte, because the end is written after everything else.
        while len(self._waiting) > PIECE_BYTES:
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            self._write(memoryview(self._sealer.seal(piece, last=False)))


class BackupReader:
    """Reads a backup. Every method raises BadInputError if it is cut off, damaged or none at all."""

    def __init__(
        self,
        readinto: Callable[[memoryview], int],
        key_of: Callable[[Opening], bytes],
    ) -> None:
        """Read up to the manifest. `key_of` derives the key. Raises WrongPassphraseError too, and what it raises."""
        self._readinto = readinto
        self._opened = bytearray()
        self._left = 0
        self._is_last = False
        opening = Opening.parse(self._read(OPENING_BYTES))
        self._opener = ContainerOpener(key_of(opening), opening)
        entry = self._next()
        if entry is None or entry[0] != MANIFEST:
            raise damaged("what it says of itself")
        self.manifest = Manifest.decode(b"".join(self.content()))

    def entries(self) -> Iterator[tuple[str, int]]:
        """Yield the name and size of each file; its `content` has to be read before the next one."""
        while (entry := self._next()) is not None:
            if not _NAME.fullmatch(entry[0]):
                raise damaged(f"the name {entry[0]!r}")
            yield entry
        if self._opened or not self._is_last:
            raise damaged("its end")

    def content(self) -> Iterator[bytes]:
        """Yield the pieces of the file that was named last."""
        while self._left:
            self._require(1)
            piece = bytes(self._opened[: self._left])
            del self._opened[: len(piece)]
            self._left -= len(piece)
            yield piece

    def _next(self) -> tuple[str, int] | None:
        if self._left:
            raise ValueError("the file before was not read")
        (length,) = self._take(1)
        if not length:
            return None
        name = self._take(length).decode("latin-1")
        size = int.from_bytes(self._take(_SIZE_BYTES), "big")
        if size > _MAX_SMALL_BYTES.get(name, _MAX_BYTES):
            raise damaged(f"the size of {name!r}")
        self._left = size
        return name, size

    def _take(self, count: int) -> bytes:
        self._require(count)
        data = bytes(self._opened[:count])
        del self._opened[:count]
        return data

    def _require(self, count: int) -> None:
        """Open pieces until so many bytes are there."""
        while len(self._opened) < count:
            if self._is_last:
                raise damaged("its end")
            sealed = self._read(SEALED_BYTES)
            piece, self._is_last = self._opener.open(sealed)
            if self._is_last and self._read(1):
                raise BadInputError(
                    "something follows the end of the backup", hint="take the file as it was made"
                )
            if not self._is_last and len(sealed) < SEALED_BYTES:
                raise cut()
            self._opened += piece

    def _read(self, count: int) -> bytes:
        """Return so many bytes; fewer only at the end of the input."""
        room = memoryview(bytearray(count))
        at = 0
        while at < count and (got := self._readinto(room[at:])):
            at += got
        return bytes(room[:at])
