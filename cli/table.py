"""The layout of a table: each row takes one line if there is room, else several; nothing is cut.

Columns with short cells are not wrapped, nor are ids, because people type them. Longer columns are made narrower and
wrapped, as long as they stay readable; if that is not enough, a row takes a second line, or more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .marked import unmarked

__all__ = ["NARROWEST", "clusters", "laid_out", "width", "wrapped"]

_GAP = 2
_INDENT = 2
"""The indentation of all lines of a row but the first."""
NARROWEST = 16
"""The least width of a cell with running text: below it, words are broken into syllables."""


def width(text: str) -> int:
    """Return how many columns a text takes at most; a mark takes none.

    An emoji of several characters takes two on some terminals, and on others as many as its parts alone.
    """
    text = unmarked(text)
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth, wcwidth

    return max(wcswidth(text), sum(max(0, wcwidth(char)) for char in text))


def clusters(text: str) -> Iterable[str]:
    """Return the parts of a text that are never divided: a letter with its marks, an emoji, a flag."""
    if text.isascii():
        return text
    from wcwidth import iter_graphemes

    return iter_graphemes(text)


def laid_out(
    rows: Sequence[Sequence[str]], whole: Sequence[bool], room: int | None
) -> list[list[str]]:
    """Return the lines of each row of a table in `room` columns (None: as many as it takes).

    `whole` says for each column whether its cells are never wrapped.
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    groups = [list(range(len(widths)))]
    if room is not None and _line(widths) > room:
        least = [w if fix else min(w, NARROWEST) for w, fix in zip(widths, whole, strict=True)]
        groups = _groups(least, room)
        for number, group in enumerate(groups):
            _share(widths, least, group, room - (_INDENT if number else 0))
    return [_lines_of(row, groups, widths, whole) for row in rows]


def _lines_of(
    row: Sequence[str],
    groups: Sequence[Sequence[int]],
    widths: Sequence[int],
    whole: Sequence[bool],
) -> list[str]:
    lines: list[str] = []
    for number, group in enumerate(groups):
        before = " " * (_INDENT if number else 0)
        cells = [_cell(row[at], widths[at], whole=whole[at]) for at in group]
        lines += [before + line for line in _side_by_side(cells, [widths[at] for at in group])]
    return lines


def _line(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _groups(least: Sequence[int], room: int) -> list[list[int]]:
    """Return which columns are on which line of a row, in their order."""
    groups: list[list[int]] = [[]]
    for at in range(len(least)):
        space = room - (_INDENT if len(groups) > 1 else 0)
        if groups[-1] and _line([*(least[i] for i in groups[-1]), least[at]]) > space:
            groups.append([])
        groups[-1].append(at)
    return groups


def _share(widths: list[int], least: Sequence[int], group: Sequence[int], room: int) -> None:
    """Make the widest columns of a line narrower until all have room, but none narrower than it needs."""
    while _line([widths[at] for at in group]) > room:
        can = [at for at in group if widths[at] > least[at]]
        if not can:
            break
        widest = max(can, key=lambda at: widths[at])
        widths[widest] -= 1
    if len(group) == 1 and widths[group[0]] > room > 0:
        widths[group[0]] = room


def _cell(text: str, room: int, *, whole: bool) -> list[str]:
    return [text] if whole or width(text) <= room else wrapped(text, room)


def _side_by_side(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    lines = []
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = [
            part + " " * (room - width(part)) for part, room in zip(parts, widths, strict=True)
        ]
        lines.append((" " * _GAP).join(padded).rstrip())
    return lines


def wrapped(text: str, room: int, *, divide: bool = True) -> list[str]:
    """Return a text in lines of at most `room` columns, broken between words if possible.

    Without `divide`, a word that is longer stays whole: somebody may copy it.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(longer) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, room) if divide else [word]
        lines += full
    return [*lines, line]


def _pieces(word: str, room: int) -> list[str]:
    """Return a word in pieces that fit; at least a character each."""
    pieces, piece = [], ""
    for cluster in clusters(word):
        # Asked as a whole, because a mark alone may take a column that it does not take on a letter.
        if piece and width(piece + cluster) > room:
            pieces.append(piece)
            piece = ""
        piece += cluster
    return [*pieces, piece]
