"""Where a message is typed: Enter sends it, Ctrl-J or Alt-Enter begins a new line."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from .pasting import without_controls

__all__ = ["Composer"]

_ALT_ENTER = "\x1b\r"
_keys_of_terminals = cast("dict[str, tuple[Keys, ...]]", ANSI_SEQUENCES_KEYS)
"""Textual takes Alt-Enter for Enter, which would send what is meant to go on, but on terminals of the newest kind."""


class Composer(TextArea):
    """The input. What is in it stays there until the node has it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "app.look", "Messages", show=False)]
    DEFAULT_CSS = """
    Composer, Composer:focus {
        border: none;
        padding: 0;
        height: auto;
        min-height: 1;
        max-height: 6;
    }
    """

    class Paged(Message):
        """The messages above are to be scrolled by so many pages."""

        def __init__(self, pages: int) -> None:
            super().__init__()
            self.pages = pages

    def __init__(self, submit: Callable[[str], object]) -> None:
        """`submit` takes what was typed when Enter is pressed, at once: keys that follow are of the next message."""
        super().__init__(
            id="composer",
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            placeholder="Write a message; Enter sends it, F1 shows the keys",
        )
        self._submit = submit
        _keys_of_terminals.setdefault(_ALT_ENTER, (Keys.ControlJ,))

    async def _on_key(self, event: events.Key) -> None:
        match event.key:
            case "enter":
                text = self.text
                self.load_text("")
                self._submit(text)
            case "ctrl+j" | "alt+enter" | "shift+enter":
                self.insert("\n")
            case "pageup" | "pagedown":
                self.post_message(self.Paged(-1 if event.key == "pageup" else 1))
            case _:
                await super()._on_key(event)
                return
        event.stop()
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        # What is pasted may have been copied from anywhere, and is drawn on this terminal.
        await super()._on_paste(events.Paste(without_controls(event.text)))
        event.stop()
        event.prevent_default()
