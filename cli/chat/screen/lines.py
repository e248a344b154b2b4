"""A widget that shows lines of text, as many as there are, and draws those alone that are on the screen.

Text is never read as markup here, and passes `safe` once more: nothing that acts on a terminal leaves by this widget.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...safe import safe
from ...table import wrapped

__all__ = ["Block", "Line", "Lines", "in_lines"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: parts with the names of their styles."""

    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together: a message, or what stands between messages."""

    key: Hashable
    lines: tuple[Line, ...]


def in_lines(text: str, room: int, style: str = "", indent: str = "") -> list[Line]:
    """Return a line of text as lines of at most that many columns."""
    width = max(1, room - len(indent))
    # Blanks at the beginning are kept: they may be the form of a listing.
    bare = text.lstrip(" ")
    blanks = " " * min(len(text) - len(bare), width // 2)
    pieces = wrapped(bare, max(1, width - len(blanks)))
    return [Line(((f"{indent}{blanks}{piece}", style),)) for piece in pieces]


class Lines(ScrollView, can_focus=True):
    """Shows blocks of lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *("lines--dim", "lines--bad", "lines--in", "lines--out", "lines--new", "lines--chosen"),
    }
    DEFAULT_CSS = """
    Lines {
        scrollbar-size: 1 1;
        overflow-x: hidden;
        & > .lines--dim { color: $foreground-muted; }
        & > .lines--bad { color: $text-error; text-style: bold; }
        & > .lines--in { color: $text-accent; text-style: bold; }
        & > .lines--out { color: $text-primary; text-style: bold; }
        & > .lines--new { color: $text-warning; }
        & > .lines--chosen { text-style: reverse; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self._blocks: Sequence[Block] = ()
        self._rows: list[tuple[int, Line]] = []
        """The number of the block of each line, and the line."""
        self._begins: list[int] = []
        self.chosen: Hashable = None
        """The key of the block that is highlighted."""

    @property
    def room(self) -> int:
        """Return how many columns a line may take."""
        return max(8, self.scrollable_content_region.width - 1)

    def show(self, blocks: Sequence[Block], *, to_end: bool = False) -> None:
        """Show blocks; keep what is at the top where it is, or go `to_end`."""
        anchor = None if to_end else self._anchor()
        self._blocks = blocks
        self._rows = [(number, line) for number, one in enumerate(blocks) for line in one.lines]
        self._begins, at = [], 0
        for one in blocks:
            self._begins.append(at)
            at += len(one.lines)
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))
        if to_end:
            self.scroll_end(animate=False, immediate=True)
        elif anchor is not None:
            self._return_to(*anchor)
        self.refresh()

    @property
    def is_at_end(self) -> bool:
        """Whether the last line is on the screen."""
        return self.scroll_offset.y >= len(self._rows) - self.scrollable_content_region.height

    def on_screen(self) -> list[Block]:
        """Return the blocks that have a line on the screen."""
        top = self.scroll_offset.y
        rows = self._rows[top : top + self.scrollable_content_region.height]
        return [self._blocks[number] for number in dict.fromkeys(number for number, _ in rows)]

    def reveal(self, key: Hashable) -> None:
        """Scroll until a block is on the screen."""
        for number, one in enumerate(self._blocks):
            if one.key == key:
                top, height = self.scroll_offset.y, self.scrollable_content_region.height
                begin, end = self._begins[number], self._begins[number] + len(one.lines)
                if begin < top:
                    self.scroll_to(y=begin, animate=False, immediate=True)
                elif end > top + height:
                    self.scroll_to(y=min(begin, end - height), animate=False, immediate=True)
                return

    def _anchor(self) -> tuple[Hashable, int] | None:
        """Return the block at the top of the screen, and how many lines of it are above that."""
        top = self.scroll_offset.y
        if not 0 <= top < len(self._rows):
            return None
        number, _ = self._rows[top]
        return self._blocks[number].key, top - self._begins[number]

    def _return_to(self, key: Hashable, above: int) -> None:
        for number, one in enumerate(self._blocks):
            if one.key == key:
                y = self._begins[number] + above
                self.scroll_to(y=y, animate=False, immediate=True, force=True)
                return

    def render_line(self, y: int) -> Strip:
        """Draw a line of the screen."""
        width = self.scrollable_content_region.width
        base = self.rich_style
        at = self.scroll_offset.y + y
        if not 0 <= at < len(self._rows):
            return Strip.blank(width, base)
        number, line = self._rows[at]
        if self.chosen is not None and self._blocks[number].key == self.chosen and self.has_focus:
            base += self.get_component_rich_style("lines--chosen", partial=True)
        segments = [
            Segment(
                safe(text),
                base + self.get_component_rich_style(f"lines--{style}", partial=True)
                if style
                else base,
            )
            for text, style in line.parts
        ]
        return Strip(segments).adjust_cell_length(width, base)
