"""Makes hostile file names from a peer safe, and checks whether symbolic links stay within their folder.

`safe_name` keeps what a person would recognise and nothing that a file system, a shell, a terminal
or another operating system reads as more than a name.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from peerpost.invisible import is_hidden
from peerpost.wire.limits import NAME_BYTES

__all__ = ["FOLDER_SUFFIX", "clip", "numbered", "safe_name", "stays_within"]

FOLDER_SUFFIX: Final = ".tar"
"""The ending that a folder gets in its offer. A program that does not know folders shows an archive."""
_FALLBACK: Final = "file"
_REPLACEMENT: Final = "_"
_FORBIDDEN: Final = frozenset('<>:"|?*\\/')
"""What Windows forbids; `:` also names a stream of another file there."""
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)
"""Names that Windows reads as devices, whatever follows the first dot."""
_SUFFIX_BYTES: Final = 32
"""Longest ending that is kept whole when a long name is cut."""
_CUT: Final = "…"
"""Replaces the part that was cut out of a long name."""


def safe_name(name: str) -> str:
    """Return a name that is safe to create a file under, of at most NAME_BYTES in UTF-8.

    The last component of a path; NFC; no control, format, separator or unseen characters; no run of spaces;
    no leading dot, dash or space and no trailing dot or space; no device name.
    """
    base = unicodedata.normalize("NFC", name.replace("\\", "/").rstrip("/").rpartition("/")[2])
    # First, because a mark that comes to the beginning thereby has no letter to stand on.
    base = base.lstrip(".-~ ")
    kept = "".join(
        _REPLACEMENT if is_hidden(base, at) or _is_bad(char) else char
        for at, char in enumerate(base)
    )
    kept = " ".join(kept.split()).rstrip(". ")
    kept = clip(kept, NAME_BYTES)
    if not kept.strip("_. "):
        return _FALLBACK
    if kept.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        kept = clip(_REPLACEMENT + kept, NAME_BYTES)
    return kept


def numbered(name: str, number: int) -> str:
    """Return the name with ` (number)` before its ending; the name itself for 0."""
    if number == 0:
        return name
    stem, suffix = _split(name)
    ending = f" ({number}){suffix}"
    return _cut_middle(stem, NAME_BYTES - len(ending.encode())) + ending


def clip(name: str, size_bytes: int = NAME_BYTES) -> str:
    """Return a name of at most that many bytes of UTF-8: a long one loses the middle of its stem.

    It keeps its ending and the part before it, because names that begin alike differ there: `part 1 of 9`.
    """
    stem, suffix = _split(name)
    return _cut_middle(stem, size_bytes - len(suffix.encode())) + suffix


def stays_within(link: str, depth: int) -> bool:
    """Return whether a symbolic link stays within a folder; `depth` says how many folders below it the link is.

    `..` is allowed only at the beginning, and only up to the top. A later one would be resolved after other links,
    which this function does not know.
    """
    steps = link.split("/")
    up = 0
    while up < len(steps) and steps[up] in ("..", "."):
        up += 1
    climbs = steps[:up].count("..")
    return (
        bool(link)
        and not link.startswith("/")
        and "\0" not in link
        and climbs <= depth
        and ".." not in steps[up:]
    )


def _is_bad(char: str) -> bool:
    # Other blanks look like a space or like nothing, which could hide an ending: "invoice.pdf<many blanks>.exe".
    return char in _FORBIDDEN or (char != " " and unicodedata.category(char) == "Zs")


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) >= _SUFFIX_BYTES:
        return name, ""
    if stem[1:].lower().endswith(FOLDER_SUFFIX):
        # `.tar` belongs to the ending after it: `backup (1).tar.gz`.
        return stem[:-4], stem[-4:] + dot + suffix
    return stem, dot + suffix


def _cut_middle(text: str, size_bytes: int) -> str:
    """Shorten a text to that many bytes of UTF-8, between characters; keep its beginning and its end."""
    data = text.encode()
    if len(data) <= size_bytes:
        return text
    room = size_bytes - len(_CUT.encode())
    head = data[: room - room // 2].decode(errors="ignore")
    tail = data[len(data) - room // 2 :].decode(errors="ignore")
    # What was cut off from a flag, an emoji or a word has no meaning without the rest.
    while head and is_hidden(head + _CUT, len(head) - 1):
        head = head[:-1]
    # A combining mark whose letter was cut off must not combine with the mark of the cut.
    while tail and (is_hidden(tail, 0) or unicodedata.category(tail[0]).startswith("M")):
        tail = tail[1:]
    return head + _CUT + tail
