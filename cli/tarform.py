"""Reads the archive in which a folder is sent: exactly the plain form that Peerpost writes, and no other.

That is ustar, with a pax header of a few bounded records if a name, a size or a time does not fit. All other features
of tar (sparse maps, GNU long names, global headers, hard links, devices) are refused by the type byte, before anything
of them is read. The cost of a header is proportional to its length.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from peerpost.errors import BadInputError

__all__ = ["MAX_PAX_BYTES", "CutError", "Member", "members"]

Kind = Literal["file", "folder", "link"]

MAX_PAX_BYTES: Final = 64 << 10
"""The longest pax header. It leaves room for two names of 4,096 bytes, the longest that a system can have."""
_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_MAGIC: Final = b"ustar\x0000"
_KINDS: Final[dict[bytes, Kind]] = {b"0": "file", b"\0": "file", b"5": "folder", b"2": "link"}
_PAX: Final = b"x"
_KEYS: Final = frozenset({b"path", b"linkpath", b"size", b"mtime", b"hdrcharset"})
_CHARSETS: Final = frozenset({b"BINARY", b"ISO-IR 10646 2000 UTF-8"})
_MAX_DIGITS: Final = 19
_RECORD: Final = re.compile(rb"([1-9][0-9]{0,4}) ([a-z]{1,16})=")
_SIZE: Final = re.compile(rb"[0-9]{1,19}")
_TIME: Final = re.compile(rb"-?[0-9]{1,19}(\.[0-9]{1,19})?")
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")


class CutError(BadInputError):
    """The archive is cut off."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive, as described by its header."""

    name: str
    kind: Kind
    size: int
    mode: int
    mtime: float
    target: str
    """For a link: its target."""


def members(exactly: Callable[[int], bytes]) -> Iterator[Member]:
    """Yield the entries of an archive. After a file, the caller must read its `size` bytes before the next entry.

    `exactly` reads a number of bytes, and raises CutError if there are fewer. Raises BadInputError.
    """
    pax: dict[bytes, bytes] = {}
    while (block := exactly(_BLOCK)) != _ZEROS:
        type_ = _checked(block)
        if type_ == _PAX:
            if pax:
                raise _bad("it has two headers for one thing")
            pax = _records(_padded(exactly, _size_of(block, {}, MAX_PAX_BYTES)))
            continue
        kind = _KINDS.get(type_)
        if kind is None:
            raise _bad(f"it holds what is neither a file, a folder nor a symbolic link ({type_!r})")
        member = _member(block, pax, kind)
        pax = {}
        yield member
        exactly(-member.size % _BLOCK)
    if pax or exactly(_BLOCK) != _ZEROS:
        raise _bad("its end is not as it should be")


def _checked(block: bytes) -> bytes:
    """Return the type byte of a header whose checksum is right."""
    if block[257:265] != _MAGIC:
        raise _bad("it is not in the form that folders are sent in")
    if _octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise _bad("a header is damaged")
    return block[156:157]


def _member(block: bytes, pax: dict[bytes, bytes], kind: Kind) -> Member:
    size = _size_of(block, pax, 10**_MAX_DIGITS)
    if size and kind != "file":
        raise _bad("a folder or link in it has content")
    name = pax.get(b"path")
    if name is None:
        prefix = _text(block[345:500])
        name = (prefix + b"/" if prefix else b"") + _text(block[:100])
    target = pax.get(b"linkpath", _text(block[157:257]))
    if b"\0" in name or b"\0" in target:
        raise _bad("a name in it has a NUL")
    # A folder's name ends with a slash.
    name = name.removesuffix(b"/") if kind == "folder" else name
    return Member(
        name=os.fsdecode(name),
        kind=kind,
        size=size,
        mode=_octal(block[100:108]),
        mtime=float(pax.get(b"mtime", b"%d" % _octal(block[136:148]))),
        target=os.fsdecode(target) if kind == "link" else "",
    )


def _size_of(block: bytes, pax: dict[bytes, bytes], most: int) -> int:
    size = int(pax[b"size"]) if b"size" in pax else _octal(block[124:136])
    if size > most:
        raise _bad("a header in it is too long")
    return size


def _padded(exactly: Callable[[int], bytes], size: int) -> bytes:
    return exactly(size + -size % _BLOCK)[:size]


def _records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header, in linear time."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        match = _RECORD.match(data, at, at + 32)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise _bad("a header is damaged")
        key, value = match[2], data[match.end() : end - 1]
        if key not in _KEYS or key in found:
            raise _bad(f"it has a header that is not read: {key.decode()}")
        found[key] = value
        at = end
    if (
        found.get(b"hdrcharset", b"BINARY") not in _CHARSETS
        or not _SIZE.fullmatch(found.get(b"size", b"0"))
        or not _TIME.fullmatch(found.get(b"mtime", b"0"))
    ):
        raise _bad("a header is damaged")
    if not found:
        raise _bad("it has an empty header")
    return found


def _octal(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise _bad("a number in it is not as it should be")
    return int(match[1] or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _bad(why: str) -> BadInputError:
    return BadInputError(
        f"what was received is no archive of a folder: {why}",
        hint="nothing was saved; ask who sent it",
    )
