"""Where a text has the term of a search, and what stands around it there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from peerpost.store.fold import fold, span

__all__ = ["Match", "match"]

AROUND_CHARS: Final = 32
"""How much of a text is shown on either side of the term: a few words."""
CUT: Final = "…"
_BLANKS: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The first place of a text that has the term."""

    text: str
    """The term with a few words around it, on one line; hostile to terminals until made safe."""
    start: int
    """Where in it the term begins, in characters."""
    end: int


def match(text: str, term: str) -> Match | None:
    """Return the first place of a text that has a folded term, None if there is none."""
    at = fold(text).find(term)
    if at < 0:
        return None
    start, end = span(text, at, at + len(term))
    before = _on_one_line(_end(text, start)).lstrip()
    hit = _on_one_line(text[start:end])
    after = _on_one_line(_beginning(text, end)).rstrip()
    return Match(text=before + hit + after, start=len(before), end=len(before) + len(hit))


def _on_one_line(text: str) -> str:
    return _BLANKS.sub(" ", text)


def _end(text: str, at: int) -> str:
    """Return some words before a place."""
    first = at - AROUND_CHARS
    if first <= 0:
        return text[:at]
    words = text[first:at]
    if not text[first - 1].isspace():
        # The first word is cut in two: it is left out, if it is not all there is.
        blanks = _BLANKS.search(words)
        words = words if blanks is None else words[blanks.end() :]
    return CUT + words


def _beginning(text: str, at: int) -> str:
    """Return some words after a place."""
    last = at + AROUND_CHARS
    if last >= len(text):
        return text[at:]
    words = text[at:last]
    if not text[last].isspace():
        blanks = list(_BLANKS.finditer(words))
        words = words[: blanks[-1].start()] if blanks else words
    return words + CUT
