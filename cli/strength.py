"""How long a passphrase would withstand guessing, and one that is made of six words.

A rule of length would take "password1234" and refuse nothing that is guessed first, so zxcvbn estimates the guesses:
it knows lists of passwords, names and words, dates, keyboard walks and the usual substitutions.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from importlib.resources import files

import xkcdpass

__all__ = ["WORDS", "Strength", "judge", "six_words"]

WORDS = 6
"""Of 7776 words each: 77 bits."""
_JUDGED_CHARS = 72
"""zxcvbn takes no more; a longer passphrase is at least as strong as its beginning."""
_WEAK_GUESSES_LOG10 = 10.0
"""Below this, zxcvbn counts it as guessable offline."""
_STRONG_GUESSES_LOG10 = 13.0
_GUESSES_S = 1e4
"""What a room full of graphics cards may try in a second: each guess takes 256 MiB for about a second."""


@dataclass(frozen=True, slots=True)
class Strength:
    """The estimate for one passphrase."""

    guesses_log10: float
    warning: str
    """What makes it easy to guess; may be empty."""

    @property
    def is_weak(self) -> bool:
        """Whether it would be guessed within days or weeks."""
        return self.guesses_log10 < _WEAK_GUESSES_LOG10

    @property
    def words(self) -> str:
        """The estimate as a person understands it."""
        level = (
            "weak"
            if self.is_weak
            else "fair"
            if self.guesses_log10 < _STRONG_GUESSES_LOG10
            else "strong"
        )
        why = self.warning.rstrip(".")
        why = f"; {why[:1].lower()}{why[1:]}" if why and level != "strong" else ""
        return f"{level} ({_time(10**self.guesses_log10 / _GUESSES_S)} of guessing{why})"


def judge(text: str) -> Strength:
    """Estimate how many guesses a passphrase would withstand."""
    from zxcvbn import zxcvbn

    if not text:
        return Strength(0.0, "it is empty")
    found = zxcvbn(text[:_JUDGED_CHARS])
    return Strength(float(found["guesses_log10"]), found["feedback"]["warning"] or "")


def six_words() -> str:
    """Return a passphrase of six random words from the long list of the EFF."""
    listed = files(xkcdpass).joinpath("static/eff-long").read_text(encoding="ascii").split()
    return " ".join(secrets.choice(listed) for _ in range(WORDS))


def _time(seconds: float) -> str:
    for name, length_s in (
        ("centuries", 3.2e9),
        ("years", 3.2e7),
        ("days", 86400.0),
        ("hours", 3600.0),
    ):
        if seconds >= 2 * length_s:
            return name
    return "minutes"
