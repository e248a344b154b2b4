"""Text of which a part is highlighted on a terminal. In a table it is wrapped like any other."""

from __future__ import annotations

from dataclasses import dataclass

from .safe import SafeText, safe_span

__all__ = ["OFF", "ON", "Marked", "unmarked"]

ON, OFF = "\x01", "\x02"
"""Around what is highlighted, until it is printed. No text has them: `safe` makes `<U+0001>` of such characters."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A text, which may have been received, with the place of what is highlighted in it."""

    text: str
    start: int
    end: int

    def shown(self) -> SafeText:
        """Return it safe for one line of a terminal, with ON and OFF around each word that is highlighted."""
        text = self.text
        words = safe_span(text, self.start, self.end).split(" ")
        hit = " ".join(f"{ON}{word}{OFF}" if word else "" for word in words)
        before, after = safe_span(text, 0, self.start), safe_span(text, self.end, len(text))
        return SafeText(f"{before}{hit}{after}")


def unmarked(text: str) -> str:
    """Return a line without ON and OFF."""
    return text.replace(ON, "").replace(OFF, "") if ON in text or OFF in text else text
