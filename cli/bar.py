"""One line about a file that is under way, made to fit any width. The least important parts are left out first.

The bar goes first, then the end of a long name, then figures, the least important first; a reason is cut last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .table import clusters, width

__all__ = ["BarPart", "bar", "line"]

LEAST_BAR, MOST_BAR = 6, 40
LEAST_LABEL = 12
_GAP = 2


class BarPart(NamedTuple):
    """A figure, and how dispensable it is: the highest is left out first, 0 never."""

    text: str
    dispensable: int = 0


def line(
    label: str,
    share: float | None,
    parts: Sequence[BarPart],
    room: int,
    *,
    ascii_only: bool = False,
) -> str:
    """Return name, bar and figures in at most `room` columns. A share of None (not known) gives an empty bar."""
    kept = list(parts)
    while _taken(label, kept) > room:
        if width(label) > LEAST_LABEL:
            label = _cut(
                label, max(LEAST_LABEL, width(label) - (_taken(label, kept) - room)), ascii_only
            )
            continue
        least = max(kept, key=lambda part: part.dispensable, default=None)
        if least is None or least.dispensable == 0:
            break
        kept.remove(least)
    figures = _joined(kept)
    left = room - width(label) - width(figures) - (_GAP if figures else 0)
    if left - _GAP >= LEAST_BAR:
        label += " " * _GAP + bar(share, min(MOST_BAR, left - _GAP), ascii_only)
    return _cut(f"{label}{' ' * _GAP if figures else ''}{figures}", room, ascii_only)


def _joined(parts: Sequence[BarPart]) -> str:
    return ", ".join(part.text for part in parts)


def _taken(label: str, parts: Sequence[BarPart]) -> int:
    figures = width(_joined(parts))
    return width(label) + figures + (_GAP if figures else 0)


def bar(share: float | None, columns: int, ascii_only: bool) -> str:
    """Return a bar that is full only if everything is there. Its empty part looks empty on any terminal."""
    full, rest = ("#", ".") if ascii_only else ("━", "┄")
    done = int(columns * min(1.0, max(0.0, share or 0.0)))
    return full * done + rest * (columns - done)


def _cut(text: str, room: int, ascii_only: bool) -> str:
    """Return a text cut to at most `room` columns; an ellipsis shows that there was more."""
    if width(text) <= room:
        return text
    more = "..." if ascii_only else "…"
    kept = ""
    for char in clusters(text):
        if width(kept + char) > room - len(more):
            break
        kept += char
    return kept + more if room > len(more) else kept
