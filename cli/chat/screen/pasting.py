"""Pasted text is text, whatever is in it.

A terminal puts what is pasted between two marks. Textual takes what stands between them and looks like the beginning of
a key (an ESC) for keys: an Enter behind it would send, and a Ctrl-Q would leave. Some terminals take such characters
out of what is pasted, others, tmux among them, do not; so it is done here, before Textual sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from textual._xterm_parser import XTermParser
from textual.message import Message

__all__ = ["PastedText", "install", "without_controls"]

_BEGIN, _END = "\x1b[200~", "\x1b[201~"
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def without_controls(text: str) -> str:
    """Return a text without control characters, but for line ends and tabs."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class PastedText:
    """What a terminal sends, in pieces as they come, with what is pasted made harmless."""

    def __init__(self) -> None:
        self._is_pasting = False
        self._passed = ""
        """The beginning of the first mark, if what was passed on ends with that. It is no reason to wait: it may be all
        of a key."""
        self._held = ""
        """The end of a piece of what is pasted, which may be the beginning of the mark at its end."""

    def feed(self, data: str) -> str:
        """Return what is to be taken now."""
        found: list[str] = []
        rest = self._held + data
        self._held = ""
        while rest:
            taken, rest = self._pasted(rest) if self._is_pasting else self._typed(rest)
            found.append(taken)
        return "".join(found)

    def _typed(self, rest: str) -> tuple[str, str]:
        known, self._passed = self._passed, ""
        at = (known + rest).find(_BEGIN)
        if at < 0:
            self._passed = _beginning_of(_BEGIN, known + rest)
            return rest, ""
        self._is_pasting = True
        end = at + len(_BEGIN) - len(known)
        return rest[:end], rest[end:]

    def _pasted(self, rest: str) -> tuple[str, str]:
        text, mark, rest = rest.partition(_END)
        if not mark:
            # A CR waits too: the LF of its pair may be in the next piece.
            self._held = "\r" if text.endswith("\r") else _beginning_of(_END, text)
            text = text.removesuffix(self._held)
        self._is_pasting = not mark
        return without_controls(text) + mark, rest


def _beginning_of(mark: str, text: str) -> str:
    """Return the end of a text, as far as that is the beginning of a mark."""
    ends = (mark[:size] for size in range(len(mark) - 1, 0, -1))
    return next((end for end in ends if text.endswith(end)), "")


class SafePasteParser(XTermParser):
    """Textual's parser, fed with pasted text that is harmless."""

    def __init__(self, *args: bool, **more: bool) -> None:
        super().__init__(*args, **more)
        self._pasted = PastedText()

    def feed(self, data: str) -> Iterable[Message]:
        """Take what the terminal sends."""
        taken = self._pasted.feed(data)
        # To Textual, nothing means the end of the input.
        return super().feed(taken) if taken or not data else ()


def install() -> None:
    """Have Textual use that parser."""
    # A system whose console is no terminal of this kind has another driver, and none of its modules.
    with suppress(ImportError):
        from textual.drivers import linux_driver

        linux_driver.XTermParser = SafePasteParser  # type: ignore[attr-defined]
