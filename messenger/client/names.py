"""Names and tags of contacts: a person types them to say who is meant, so they are short, visible and unambiguous."""

from __future__ import annotations

import unicodedata

from peerpost.errors import UsageError
from peerpost.invisible import is_hidden

__all__ = ["MAX_NAME_CHARS", "contact_name", "tag_name"]

MAX_NAME_CHARS = 64
_HINT = "use letters, digits, '.', '_', '-' or '@', without spaces, not beginning with '-'"


def contact_name(text: str) -> str:
    """Return a name in its stored form (NFC). Raises UsageError if it could mislead or cannot be typed."""
    return _word("name", text)


def tag_name(text: str) -> str:
    """Return a tag in its stored form, by the rules for names. Raises UsageError."""
    return _word("tag", text)


def _word(kind: str, text: str) -> str:
    word = unicodedata.normalize("NFC", text.strip())
    if not 0 < len(word) <= MAX_NAME_CHARS:
        raise UsageError(f"a {kind} has 1 to {MAX_NAME_CHARS} characters", hint=_HINT)
    # Fillers of Korean are letters, for Unicode, that nobody sees.
    seen = not any(is_hidden(word, at) for at in range(len(word)))
    if word.startswith("-") or not seen or not all(_allowed(char) for char in word):
        raise UsageError(f"the {kind} has a character that a {kind} cannot have", hint=_HINT)
    return word


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
