"""What others wrote, made safe for a terminal and for JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from peerpost.raw_bytes import encodable, shown

__all__ = ["LOOK_AHEAD", "LOOK_BACK", "as_json", "safe", "safe_block", "safe_span"]

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MAYBE_BYTES = re.compile(r"\\udc[89a-f]")
"""In JSON: a byte that is no UTF-8, or the second half of a character beyond 16 bits."""
_JOINER = "\u200d"
_PASSED_OVER = "\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""What may come between an emoji and its joiner: the presentation selector and skin tones (Unicode TR 51)."""
LOOK_BACK = 8
"""How far before a joiner its emoji is looked for. It is bounded so that each joiner of a long text costs little."""
LOOK_AHEAD = 1
"""How a character is shown depends on no character further before or after it than these."""


def safe(text: str) -> str:
    r"""Return text for one line of a terminal, everything in it that acts or hides made visible.

    Control characters (C0, C1, DEL), bidirectional and other format characters, zero-width ones,
    tags, fillers, private and unassigned code points and line separators show as `<U+202E>`, as do
    combining marks too many; a line break shows as `\n`, and of a name that is no UTF-8 a byte as
    `\xff`. A joiner stays between two emoji.
    """
    return safe_span(text, 0, len(text))


def safe_span(text: str, start: int, stop: int) -> str:
    """Return `safe` of a part of a text; only LOOK_BACK characters before it and LOOK_AHEAD after it matter."""
    span = text[start:stop]
    if span.isascii() and span.isprintable():
        return span
    from peerpost.invisible import is_hidden

    return "".join(
        char if char.isprintable() and not is_hidden(text, at) else _visible(text, at, char)
        for at, char in enumerate(span, start)
    )


def safe_block(text: str) -> str:
    """Return text for several lines: like `safe`, but line breaks and tabs stay."""
    text = text.replace("\r\n", "\n")
    return "\n".join(
        "\t".join(safe(part) for part in line.split("\t")) for line in text.split("\n")
    )


def _visible(text: str, at: int, char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char == _JOINER and _joins_emoji(text, at):
        return char
    # Python does not call spaces of other widths "printable", but they are harmless.
    # Many of them could push the rest out of sight, so in a run all but the first are made visible.
    if _is_blank(char) and not (at and _is_blank(text[at - 1])):
        return char
    return shown(char) if "\ud800" <= char <= "\udfff" else f"<U+{ord(char):04X}>"


def _is_blank(char: str) -> bool:
    return char in "\u00a0\u1680\u202f\u205f\u3000" or "\u2000" <= char <= "\u200a"


def _joins_emoji(text: str, at: int) -> bool:
    before = text[max(0, at - LOOK_BACK) : at].rstrip(_PASSED_OVER)[-1:]
    return _is_emoji(before) and _is_emoji(text[at + 1 : at + 2])


def _is_emoji(char: str) -> bool:
    return bool(char) and (
        "\U0001f000" <= char <= "\U0001faff"
        or "\u2190" <= char <= "\u27ff"
        or "\u2900" <= char <= "\u2bff"
    )


def as_json(value: Any) -> str:
    r"""Return an object as JSON in pure ASCII; of a name that is no UTF-8 a byte is `\\xff` in it."""
    text = json.dumps(value)
    return json.dumps(encodable(value)) if _MAYBE_BYTES.search(text) else text
