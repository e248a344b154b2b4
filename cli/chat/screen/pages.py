"""What is shown above the chat for a while: a text as a whole, the help, a search, a question for a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ...safe import safe
from .. import words
from ..typed import COMMANDS
from .lines import Block, Lines, in_lines

__all__ = ["FilePage", "SearchPage", "TextPage", "help_text"]

_KEYS = (
    ("Enter", "send"),
    ("Ctrl-J, Alt-Enter", "a new line in the message"),
    ("PgUp, PgDn", "older and newer messages"),
    ("Tab", "to the messages, the contacts and back"),
    ("F1", "this page"),
    ("F2", "contacts: Up and Down, Enter"),
    ("F3", "search"),
    ("F4", "the contact, with the safety number"),
    ("F5", "your own name, id and keys"),
    ("F6", "send a file or a folder"),
    ("Esc", "back to the message"),
    ("Ctrl-Q", "leave"),
)
_ON_MESSAGES = (
    ("Up, Down", "choose one"),
    ("Enter, r", "read all of a text; save a file"),
    ("s", "save it here, under its own name"),
    ("a, x", "accept or reject a file that asks"),
    ("p, u", "pause a file, go on with it"),
    ("c", "take back what is not delivered yet"),
)


def help_text() -> str:
    """Return the page of help."""
    commands = [(f"/{name} {takes}".strip(), about) for name, (takes, about) in COMMANDS.items()]
    parts = (
        ("Keys", _KEYS),
        ("With the messages chosen (Tab)", _ON_MESSAGES),
        ("Typed as a message (// sends a text that begins with /)", commands),
    )
    sections = []
    for head, rows in parts:
        sections.append("\n".join([head, *(f"  {keys:<22} {about}" for keys, about in rows)]))
    return "\n\n".join(sections)


class _Page(ModalScreen[Any]):
    """A page that Escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,f4,f5", "leave", "Back", show=False),
    ]
    DEFAULT_CSS = """
    _Page > Vertical { background: $surface; padding: 0 1; }
    _Page .title { text-style: bold; height: 1; }
    _Page .foot { color: $foreground-muted; height: auto; }
    _Page Lines { height: 1fr; }
    _Page Input, _Page Input:focus { border: none; height: 1; padding: 0; }
    _Page OptionList, _Page OptionList:focus { border: none; height: 1fr; padding: 0; }
    """

    def action_leave(self) -> None:
        """Go back to the chat."""
        self.dismiss(None)


class TextPage(_Page):
    """A text as a whole, which may be a peer's."""

    def __init__(self, title: str, text: str, left: str = "") -> None:
        super().__init__()
        self._title, self._lines, self._left = title, words.in_lines(text), left

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical():
            yield Static(safe(self._title), markup=False, classes="title")
            yield Lines(id="text")
            foot = f"{safe(self._left)}  " if self._left else ""
            yield Static(f"{foot}Esc: back", markup=False, classes="foot")

    def on_mount(self) -> None:
        """Show the text once its width is known."""
        self.query_one(Lines).focus()
        self.call_after_refresh(self._fill)

    def on_resize(self) -> None:
        """Break the lines anew."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        lines = self.query_one(Lines)
        blocks = [Block(n, tuple(in_lines(one, lines.room))) for n, one in enumerate(self._lines)]
        lines.show(blocks)


class SearchPage(_Page):
    """A search in all messages. It ends with the row of what was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Mapping[str, Any]] = ()

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical():
            yield Static("Search in all messages", markup=False, classes="title")
            yield Input(placeholder="a part of a text or of a file's name; Enter searches")
            yield OptionList(markup=False)
            yield Static("Enter: search, then jump   Esc: back", markup=False, classes="foot")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Have it searched for."""
        if event.value:
            self.app.search_for(event.value)  # type: ignore[attr-defined]

    def found(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show what was found."""
        self._rows = rows
        hits = self.query_one(OptionList)
        hits.clear_options()
        hits.add_options([Option(safe(words.hit(row))) for row in rows])
        if rows:
            hits.highlighted = 0
            hits.focus()
        else:
            hits.add_option(Option("Nothing found.", disabled=True))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Jump to what was chosen."""
        if event.option_index < len(self._rows):
            self.dismiss(self._rows[event.option_index])


class _Paths(Suggester):
    """Suggests the first name in a folder that goes on as what was typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return what may be meant."""
        return self._suggested(value)

    def _suggested(self, value: str) -> str | None:
        head, _, begin = value.rpartition("/")
        folder = Path(f"{head}/" if "/" in value else ".").expanduser()
        try:
            names = sorted(one.name for one in folder.iterdir() if one.name.startswith(begin))
        except OSError:
            return None
        shown = [name for name in names if name == safe(name)]
        if not begin:
            shown = [name for name in shown if not name.startswith(".")]
        if not shown:
            return None
        tail = "/" if (folder / shown[0]).is_dir() else ""
        return f"{head}/{shown[0]}{tail}" if "/" in value else f"{shown[0]}{tail}"


class FilePage(_Page):
    """Asks for the path of a file or folder to send. It ends with the path."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", show=False, priority=True)
    ]

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical():
            yield Static("Send a file or a folder", markup=False, classes="title")
            yield Input(placeholder="path", suggester=_Paths())
            yield Static("Tab: complete   Enter: send   Esc: back", markup=False, classes="foot")

    def action_complete(self) -> None:
        """Take what is suggested."""
        self.query_one(Input).action_cursor_right()
        self.query_one(Input).action_end()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Give the path."""
        if event.value.strip():
            self.dismiss(event.value.strip())
