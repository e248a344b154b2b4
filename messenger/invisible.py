"""Which characters of a text are unseen, or act on what is around them; and which of those belong to ordinary writing.

Such characters can make a name look as if it ended earlier than it does, reorder a line, or carry words that nobody
sees. What people write needs some of them in certain places: joiners within emoji and Indic or Persian words, the tags
of a flag. There they stay; anywhere else they are hidden.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["LOOK_AHEAD", "LOOK_BACK", "MAX_MARKS", "is_hidden"]

MAX_MARKS: Final = 4
"""The most marks without a width on one letter. No living script uses more, and a hundred would hide the text around
them."""
_MAX_WITH_SPACING: Final = 8
"""The same with marks that have a width, of which Burmese has five: some terminals give them none."""
LOOK_BACK: Final = _MAX_WITH_SPACING + 1
LOOK_AHEAD: Final = 5
"""Whether a character is hidden depends on no character further before or after it than these."""


def _chars(ranges: str) -> frozenset[str]:
    found = set[str]()
    for part in ranges.split():
        first, _, last = part.partition("-")
        found.update(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(found)


_IGNORABLE: Final = _chars(
    "AD 34F 61C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8"
    " 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
)
"""Default_Ignorable_Code_Point: DerivedCoreProperties.txt of Unicode 15.0; it is the same in 16.0 and 17.0."""
_EMPTY: Final = _chars("2800 FFFC 1D159 13441-13442 16FE4")
"""Characters that are drawn as nothing: braille without dots, a place for an object, a musical note without a head,
blanks of hieroglyphs, the filler of Khitan."""
_JAMO_VOWELS: Final = _chars("1160-11A7 D7B0-D7C6")
_JAMO_ENDS: Final = _chars("11A8-11FF D7CB-D7FB")
_JAMO_STARTS: Final = _chars("1100-115E A960-A97C")
"""HangulSyllableType.txt of Unicode 15.0: L, V and T. A vowel or an end takes room only as part of a syllable."""
_EMOJI: Final = _chars(
    "A9 AE 203C 2049 2122 2139 2194-2199 21A9-21AA 231A-231B 2328 2388 23CF 23E9-23F3 23F8-23FA 24C2 25AA-25AB 25B6"
    " 25C0 25FB-25FE 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271D 2721 2728 2733-2734 2744 2747"
    " 274C 274E 2753-2755 2757 2763-2767 2795-2797 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D"
    " 3297 3299 1F000-1F0FF 1F10D-1F10F 1F12F 1F16C-1F171 1F17E-1F17F 1F18E 1F191-1F19A 1F1AD-1F1E5 1F201-1F20F 1F21A"
    " 1F22F 1F232-1F23A 1F23C-1F23F 1F249-1F3FA 1F400-1F53D 1F546-1F64F 1F680-1F6FF 1F774-1F77F 1F7D5-1F7FF"
    " 1F80C-1F80F 1F848-1F84F 1F85A-1F85F 1F888-1F88F 1F8AE-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1FAFF 1FC00-1FFFD"
)
"""Extended_Pictographic: emoji-data.txt of Unicode 15.0."""
_SKIN_TONES: Final = _chars("1F3FB-1F3FF")
_KEYCAPS: Final = "0123456789#*"
_KEYCAP: Final = "\u20e3"
_JOINER, _NON_JOINER, _BLACK_FLAG = "\u200d", "\u200c", "\U0001f3f4"
_SELECTORS: Final = "\ufe0e\ufe0f"
"""Whether the emoji before them is drawn as text or in colours."""
_TAGGED_FLAGS: Final = tuple(
    "".join(chr(0xE0000 + ord(char)) for char in f"{name}\x7f")
    for name in ("gbeng", "gbsct", "gbwls")
)
"""England, Scotland and Wales: all flags by tags of emoji-sequences.txt. Other tags would be words that nobody sees."""
_VIRAMA: Final = 9
"""Its combining class. A joiner after one chooses the form of a conjunct (RFC 5892, A.1 and A.2)."""


def is_hidden(text: str, at: int) -> bool:
    """Return whether the character at that place is unseen there, acts on what is around it, or is one mark too many.

    That is so of controls, format characters, surrogates, private and unassigned ones, separators of lines, and all
    that Unicode lets a terminal ignore, except where they belong to an emoji or a word. Blanks are not hidden.
    """
    char = text[at]
    if char.isascii():
        return not char.isprintable()
    if char in (_JOINER, _NON_JOINER):
        return not _joins(text, at, char) or _is_crowded(text, at)
    if char in _SELECTORS:
        return not (at and _is_selected(text[at - 1], text[at + 1 : at + 2]))
    if char in _IGNORABLE:
        return not _is_of_flag(text, at)
    if char in _JAMO_VOWELS:
        return not (at and text[at - 1] in _JAMO_STARTS)
    if char in _JAMO_ENDS:
        return not (at and _takes_end(text[at - 1]) and not is_hidden(text, at - 1))
    category = unicodedata.category(char)
    if category[0] == "M":
        return char in _EMPTY or _is_crowded(text, at)
    return char in _EMPTY or category[0] == "C" or category in ("Zl", "Zp")


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _has_no_width(char: str) -> bool:
    return char in (_JOINER, _NON_JOINER) or unicodedata.category(char) in ("Mn", "Me")


def _is_crowded(text: str, at: int) -> bool:
    """Return whether the mark or joiner there has no letter to stand on, or one that has enough already."""
    if at == 0:
        # It would stand on what we print before the text.
        return True
    if at >= MAX_MARKS and _has_no_width(text[at]):
        return all(map(_has_no_width, text[at - MAX_MARKS : at]))
    return at >= _MAX_WITH_SPACING and all(map(_is_mark, text[at - _MAX_WITH_SPACING : at]))


def _is_selected(before: str, after: str) -> bool:
    return _is_emoji(before) or (before in _KEYCAPS and after == _KEYCAP)


def _is_emoji(char: str) -> bool:
    """Return whether it is an emoji that this Python knows: the table has room for those to come."""
    return char in _EMOJI and unicodedata.category(char) != "Cn"


def _joins(text: str, at: int, char: str) -> bool:
    before, after = text[max(0, at - 1) : at], text[at + 1 : at + 2]
    # A joiner is never joined; asking that first, the question goes back by one character and no further.
    if before in ("", _JOINER, _NON_JOINER) or is_hidden(text, at - 1):
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if char == _JOINER:
        if before in _SKIN_TONES or before == _SELECTORS[1]:
            before = text[max(0, at - 2) : at - 1]
        # In Bengali it also keeps the shape of a letter before the virama.
        in_word = bool(after) and unicodedata.combining(after) == _VIRAMA and before.isalpha()
        return in_word or (_is_emoji(before) and _is_emoji(after))
    # In Persian it separates two letters that would join. Marks may stand on the first one.
    letters = text[max(0, at - MAX_MARKS) : at]
    first = next((letter for letter in reversed(letters) if not _is_mark(letter)), "")
    return _is_arabic_letter(first) and _is_arabic_letter(after)


def _is_arabic_letter(char: str) -> bool:
    return unicodedata.bidirectional(char) == "AL" and char.isalpha() if char else False


def _is_of_flag(text: str, at: int) -> bool:
    start = text.rfind(_BLACK_FLAG, max(0, at - LOOK_AHEAD - 1), at) + 1
    return start > 0 and text.startswith(_TAGGED_FLAGS, start)


def _takes_end(char: str) -> bool:
    """Return whether a syllable of Korean that ends in this character may have one more at its end."""
    composed = "\uac00" <= char <= "\ud7a3" and (ord(char) - 0xAC00) % 28 == 0
    return composed or (char in _JAMO_VOWELS and char != "\u1160")
