"""Text as a search compares it: NFKC, then casefold. So `Straße` is found by `STRASSE`, and the ligature `ﬁ` by `fi`.

A text is folded in pieces. Unicode puts combining marks in order, which takes the square of their number: a text of
nothing but marks, 60 KiB long, would stop the node for seconds. In a piece there are few.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

__all__ = ["PIECE_CHARS", "fold", "span"]

PIECE_CHARS: Final = 256
"""The length of a piece. A text that is not longer is folded as a whole, and so is the term of a search."""
LOOK_BACK: Final = 32
"""How far before the end of a piece a place is looked for at which no two characters become one."""


def fold(text: str) -> str:
    """Return a text as it is compared."""
    if text.isascii():
        return text.lower()
    if len(text) <= PIECE_CHARS:
        return _folded(text)
    return "".join(map(_folded, _pieces(text)))


def span(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where in a text the part is that `fold(text)` has from start to stop, which is not empty.

    If it begins or ends within what one character has become, that character is in it.
    """
    if text.isascii():
        return start, stop
    begin, at, done = None, 0, 0
    for piece in _pieces(text):
        length = len(_folded(piece))
        if begin is None and start < done + length:
            begin = at + _place(piece, start - done, after=False)
        if begin is not None and stop <= done + length:
            return begin, at + _place(piece, stop - done, after=True)
        at, done = at + len(piece), done + length
    return (len(text) if begin is None else begin), len(text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _place(piece: str, wanted: int, *, after: bool) -> int:
    """Return the last place before which at most `wanted` characters are, folded; or the first `after` so many."""
    low, high = 0, len(piece)
    while low < high:
        middle = (low + high) // 2 if after else (low + high + 1) // 2
        length = len(_folded(piece[:middle]))
        if after:
            low, high = (low, middle) if length >= wanted else (middle + 1, high)
        else:
            low, high = (middle, high) if length <= wanted else (low, middle - 1)
    return low


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while len(text) - at > PIECE_CHARS:
        cut = _cut(text, at + PIECE_CHARS)
        yield text[at:cut]
        at = cut
    yield text[at:]


def _cut(text: str, at: int) -> int:
    """Return the last place up to `at` that can be cut; if none is near, `at`: nobody writes so many marks."""
    for place in range(at, at - LOOK_BACK, -1):
        if _is_apart(text[place - 1], text[place]):
            return place
    return at


def _is_apart(before: str, char: str) -> bool:
    """Return whether a character never becomes one with what is before it."""
    if char.isascii():
        return True
    # The last part of a Korean syllable joins the first two, which are one character by then.
    if unicodedata.combining(char) or "\u1160" <= char <= "\u11ff":
        return False
    apart = unicodedata.normalize("NFKC", before) + unicodedata.normalize("NFKC", char)
    return unicodedata.normalize("NFKC", before + char) == apart
