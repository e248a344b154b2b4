"""Names of contacts: a person types them to say who is meant, so they are short, visible and unambiguous."""

from __future__ import annotations

import unicodedata

from peerpost.errors import UsageError

__all__ = ["MAX_NAME_CHARS", "contact_name"]

MAX_NAME_CHARS = 64
_HINT = "use letters, digits, '.', '_', '-' or '@', without spaces, not beginning with '-'"


def contact_name(text: str) -> str:
    """Return a name in its stored form (NFC). Raises UsageError if it could mislead or cannot be typed."""
    name = unicodedata.normalize("NFC", text.strip())
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise UsageError(f"a name has 1 to {MAX_NAME_CHARS} characters", hint=_HINT)
    if name.startswith("-") or not all(_allowed(char) for char in name):
        raise UsageError("the name has a character that a name cannot have", hint=_HINT)
    return name


def _allowed(char: str) -> bool:
    return char in "._-@+" or unicodedata.category(char) in {
        "Ll",
        "Lu",
        "Lo",
        "Lt",
        "Lm",
        "Nd",
        "Mn",
        "Mc",
    }
