"""Invisible characters, which can make a name look as if it ended earlier than it does."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["MAX_MARKS", "is_hidden"]

MAX_MARKS: Final = 4
"""The most combining marks on one letter. No living script uses more, and a hundred would hide the text around them."""
_IGNORABLE: Final = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties), and the braille pattern without dots."""
_HIDDEN: Final = frozenset(
    chr(code) for first, last in _IGNORABLE for code in range(first, last + 1)
)
_SELECTORS: Final = "\ufe0e\ufe0f"
"""Variation selectors: they say how the symbol before them is drawn."""
_KEYCAPS: Final = "0123456789#*"


def is_hidden(text: str, at: int) -> bool:
    """Return whether the character at that place is invisible, or one mark too many on its letter."""
    char = text[at]
    if char.isascii():
        return False
    if char in _HIDDEN:
        before = text[at - 1 : at] if at else ""
        return not (char in _SELECTORS and _takes_selector(before))
    return (
        at >= MAX_MARKS
        and _is_mark(char)
        and all(_is_mark(other) for other in text[at - MAX_MARKS : at])
    )


def _is_mark(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Me")


def _takes_selector(char: str) -> bool:
    return bool(char) and (
        char in _KEYCAPS
        or (char not in _HIDDEN and unicodedata.category(char) in ("So", "Sm", "Po"))
    )
