"""Long texts, printed piece by piece. The pieces together are what the whole text would have been printed as."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from peerpost.invisible import LOOK_AHEAD, LOOK_BACK

from .safe import SafeText, as_json, safe_span

__all__ = ["LongRecord", "SafeBlock"]


class SafeBlock:
    """Makes a text safe that comes in pieces, with the same result as `safe_block` of the whole text.

    How a character is shown depends on a few before and after it, in the same part of a line. So the last characters
    of each piece wait for the next piece, and the last ones printed are remembered.
    """

    def __init__(self) -> None:
        self._before = ""
        self._held = ""

    def feed(self, piece: str) -> SafeText:
        """Return what can be printed now."""
        text = self._held + piece
        self._held = text[-LOOK_AHEAD:]
        return self._shown(text[: len(text) - len(self._held)], self._held)

    def end(self) -> SafeText:
        """Return the rest."""
        held, self._held = self._held, ""
        return self._shown(held, "")

    def _shown(self, text: str, after: str) -> SafeText:
        if after.startswith("\n"):
            text = text.removesuffix("\r")
        shown: list[str] = []
        lines = text.replace("\r\n", "\n").split("\n")
        for line_number, line in enumerate(lines):
            parts = line.split("\t")
            for number, part in enumerate(parts):
                # The first line continues what came before; `after` is what follows the last one.
                before = self._before if line_number == number == 0 else ""
                last = line_number == len(lines) - 1 and number == len(parts) - 1
                context = f"{before}{part}{after if last else ''}"
                shown.append(safe_span(context, len(before), len(before) + len(part)))
                self._before = (before + part)[-LOOK_BACK:]
                shown.append("" if number == len(parts) - 1 else "\t")
            shown.append("" if line_number == len(lines) - 1 else "\n")
        return SafeText("".join(shown))


class LongRecord:
    """An object that is printed while its last member, a long text, is still arriving."""

    def __init__(self, write: Callable[[SafeText], None], *, as_json: bool) -> None:
        self._write = write
        self._json = as_json
        self._block = SafeBlock()
        self._last = "\n"

    def begin(self, value: Mapping[str, Any], key: str) -> None:
        """With JSON, open the object and its member `key`; otherwise print an empty line before the text."""
        opened = f'{as_json(value)[:-1]}, {json.dumps(key)}: "' if self._json else "\n"
        self._write(SafeText(opened))

    def feed(self, piece: str) -> None:
        """Print the next piece of the text."""
        self._print(SafeText(as_json(piece)[1:-1]) if self._json else self._block.feed(piece))

    def end(self) -> None:
        """Print the end, and a line break if the text does not end with one."""
        if self._json:
            self._write(SafeText('"}\n'))
            return
        self._print(self._block.end())
        if self._last != "\n":
            self._write(SafeText("\n"))

    def _print(self, text: SafeText) -> None:
        if text:
            self._last = text[-1]
            self._write(text)
