"""What others wrote, made safe for a terminal and for JSON."""

from __future__ import annotations

import json
import re
from typing import Any, NewType

from peerpost.raw_bytes import encodable, shown

__all__ = ["SafeText", "as_json", "safe", "safe_block", "safe_span"]

SafeText = NewType("SafeText", str)
"""What may be printed: nothing in it acts on a terminal but our own colours. `Terminal` prints nothing else."""
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MAYBE_BYTES = re.compile(r"\\udc[89a-f]")
"""In JSON: a byte that is no UTF-8, or the second half of a character beyond 16 bits."""


def safe(text: str) -> SafeText:
    r"""Return text for one line of a terminal, everything in it that acts or hides made visible.

    Control characters (C0, C1, DEL), bidirectional and other format characters, zero-width ones,
    tags, fillers, private and unassigned code points and line separators show as `<U+202E>`, as do
    combining marks too many; a line break shows as `\n`, and of a name that is no UTF-8 a byte as
    `\xff`. What emoji, flags and words are made of stays (`peerpost.invisible`).
    """
    return safe_span(text, 0, len(text))


def safe_span(text: str, start: int, stop: int) -> SafeText:
    """Return `safe` of a part of a text; only LOOK_BACK characters before it and LOOK_AHEAD after it matter."""
    span = text[start:stop]
    if span.isascii() and span.isprintable():
        return SafeText(span)
    from peerpost.invisible import is_hidden

    return SafeText(
        "".join(
            _visible(char) if is_hidden(text, at) or _is_in_run(text, at, char) else char
            for at, char in enumerate(span, start)
        )
    )


def safe_block(text: str) -> SafeText:
    """Return text for several lines: like `safe`, but line breaks and tabs stay."""
    text = text.replace("\r\n", "\n")
    return SafeText(
        "\n".join("\t".join(safe(part) for part in line.split("\t")) for line in text.split("\n"))
    )


def _visible(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    return shown(char) if "\ud800" <= char <= "\udfff" else f"<U+{ord(char):04X}>"


def _is_in_run(text: str, at: int, char: str) -> bool:
    """Return whether it is a wide blank after another one: many of them could push the rest out of sight."""
    return _is_blank(char) and at > 0 and _is_blank(text[at - 1])


def _is_blank(char: str) -> bool:
    return char in "\u00a0\u1680\u202f\u205f\u3000" or "\u2000" <= char <= "\u200a"


def as_json(value: Any) -> SafeText:
    r"""Return an object as JSON in pure ASCII; of a name that is no UTF-8 a byte is `\\xff` in it."""
    text = json.dumps(value)
    return SafeText(json.dumps(encodable(value)) if _MAYBE_BYTES.search(text) else text)
