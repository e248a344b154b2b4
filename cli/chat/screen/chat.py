"""The chat on the whole screen: contacts, one conversation, and an input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events as textual_events
from textual.app import App as TextualApp
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message as Told
from textual.widgets import OptionList, Static, TextArea
from textual.widgets.option_list import Option

from ...safe import safe, safe_block
from .. import words
from ..calls import NO_ANSWER, Calls
from ..desk import Desk
from ..events import ChatEvent, Noticed, ReadCame, SearchCame
from ..feeds import Feeds
from ..rows import ChatContact
from ..typed import NoCommandError, TypedCommand, TypedText, read_line
from .composer import Composer
from .history import History
from .pages import FilePage, SearchPage, TextPage, help_text
from .pasting import install as install_paste_filter

if TYPE_CHECKING:
    from ...app import App

__all__ = ["ChatApp", "run"]

NARROW_COLUMNS = 76
"""On a narrower screen the contacts are shown only while somebody chooses one."""
SHORT_LINES = 12
"""On a screen with fewer, the messages get the lines of what could be done without."""
_DRAW_S = 0.03
"""How long events are gathered before the screen is drawn anew."""
_PRESENCE_S = 30.0
"""How often "3 min ago" is drawn anew."""
_SENDING_S = 2.0
"""How long leaving waits for what is just being handed to the node."""
_KEYS = "F1 help  F2 contacts  F3 search  F6 file  ^Q quit"


class Came(Told):
    """An event from another thread."""

    def __init__(self, event: ChatEvent) -> None:
        super().__init__()
        self.event = event


class Contacts(OptionList):
    """The list of contacts."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "app.write", "Write", show=False)]


class ChatApp(TextualApp[int]):
    """One chat."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #main { height: 1fr; }
    #contacts, #contacts:focus { width: 22; border: none; border-right: solid $panel; padding: 0; }
    .narrow #contacts { display: none; }
    .narrow #contacts:focus { display: block; width: 1fr; border-right: none; }
    .short #line { display: none; }
    .short #status, .short #about { max-height: 1; }
    #about { height: auto; max-height: 4; background: $panel; padding: 0 1; text-style: bold; }
    #history { height: 1fr; padding: 0 0 0 1; }
    #status { height: auto; max-height: 3; background: $panel; padding: 0 1; }
    #status.bad { color: $text-error; text-style: bold; }
    #line { height: 1; border-top: solid $panel; }
    #composer { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", show=False, priority=True),
        Binding("f2", "contacts", "Contacts", show=False, priority=True),
        Binding("f3", "search", "Search", show=False, priority=True),
        Binding("f4", "run('number')", "Contact", show=False, priority=True),
        Binding("f5", "run('me')", "You", show=False, priority=True),
        Binding("f6", "file", "File", show=False, priority=True),
        Binding("escape", "write", "Write", show=False),
        Binding("ctrl+q", "leave", "Leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
    ]

    def __init__(self, app: App, contacts: Sequence[dict[str, Any]], contact_id: str) -> None:
        super().__init__()
        self._first_contacts, self._first = list(contacts), contact_id
        calls = Calls(app, on_wait=lambda: self._post(Noticed(NO_ANSWER, is_error=True)))
        self.desk = Desk(calls, self._post)
        self._feeds = Feeds(calls, self._post)
        self._is_due = False
        self._listed: list[tuple[str, str]] = []

    def _post(self, event: ChatEvent) -> None:
        self.post_message(Came(event))

    def end(self) -> None:
        """Hang up."""
        self._feeds.close()

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Horizontal(id="main"):
            yield Contacts(id="contacts", markup=False)
            with Vertical():
                yield Static("", id="about", markup=False)
                yield History(self.desk.model)
                yield Static("", id="line", markup=False)
                yield Composer(self.submit)
        yield Static(_KEYS, id="status", markup=False)

    def on_mount(self) -> None:
        """Begin."""
        _leave_by_signals(self)
        self._fit(self.size)
        self.desk.begin(self._first_contacts)
        self._feeds.start()
        self.set_interval(_PRESENCE_S, self._draw)
        if self._first:
            self.desk.open(self._first)
            self.action_write()
        else:
            self.action_contacts()
        self._draw_soon()

    # What comes

    def on_came(self, message: Came) -> None:
        """Take an event, and draw what it changes shortly."""
        self._keep_draft()
        before = self.desk.model.conversation.draft
        self.desk.take(message.event)
        if self.desk.model.conversation.draft != before:
            self._show_draft()
        match message.event:
            case ReadCame(title=title, text=text, left=left):
                self.push_screen(TextPage(title, text, left))
            case SearchCame(rows=rows):
                if not isinstance(self.screen, SearchPage):
                    self.action_search()
                self.call_later(self._show_found, rows)
        self._draw_soon()

    def _show_found(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if isinstance(self.screen, SearchPage):
            self.screen.found(rows)

    def _keep_draft(self) -> None:
        """Tell the model what stands in the input: the message of Textual about a key may not have come yet."""
        self.desk.draft(self._composer.text)

    def _show_draft(self) -> None:
        self._composer.load_text(self.desk.model.conversation.draft)
        self._composer.move_cursor(self._composer.document.end)

    @property
    def _composer(self) -> Composer:
        composer: Composer = self._base.query_one(Composer)
        return composer

    @property
    def _base(self) -> Any:
        """Return the screen below all pages."""
        return self.screen_stack[0]

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Keep the draft."""
        event.stop()
        self._keep_draft()

    def on_composer_paged(self, event: Composer.Paged) -> None:
        """Scroll the messages from the input."""
        history = self._base.query_one(History)
        height = max(1, history.scrollable_content_region.height - 1)
        history.scroll_relative(y=event.pages * height, animate=False)

    def on_history_scrolled(self) -> None:
        """Ask for older messages if they will be on the screen soon, and mark what is on it as read."""
        self._look(again=True)

    def on_app_focus(self) -> None:
        """Somebody looks at this terminal again."""
        self.desk.model.is_watched = True
        self._look()

    def on_app_blur(self) -> None:
        """Nobody looks at this terminal: what comes is not read."""
        self.desk.model.is_watched = False

    def on_resize(self, event: textual_events.Resize) -> None:
        """Break the lines anew."""
        self._fit(event.size)
        self._draw_soon()

    def _fit(self, size: Size) -> None:
        self.set_class(size.width < NARROW_COLUMNS, "narrow")
        self.set_class(size.height < SHORT_LINES, "short")

    # What somebody does

    def submit(self, text: str) -> None:
        """Send what was typed, or do what it says. What cannot be done stays in the input."""
        try:
            typed = read_line(text)
            if isinstance(typed, TypedText) and self.desk.model.contact is None:
                raise NoCommandError("choose a contact first: F2")
        except NoCommandError as error:
            self._composer.load_text(text)
            self._composer.move_cursor(self._composer.document.end)
            self._say(str(error))
            return
        self._keep_draft()
        match typed:
            case TypedText():
                self.desk.send(typed.text)
            case TypedCommand(name=name):
                self._do(name, typed)
        self._base.query_one(History).scroll_end(animate=False)
        self._draw_soon()

    def _do(self, name: str, command: TypedCommand) -> None:
        match name:
            case "help":
                self.action_help()
            case "contacts":
                self.action_contacts()
            case "quit":
                self.call_later(self.action_leave)
            case "to":
                self._keep_draft()
                self.desk.run(command)
                self._show_draft()
            case _:
                self.desk.run(command)

    def on_history_acted(self, event: History.Acted) -> None:
        """Do something with the message that is chosen."""
        if event.id:
            self.desk.run(TypedCommand(event.act, event.id))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Turn to the contact that was chosen."""
        if event.option.id is not None:
            self._keep_draft()
            self.desk.open(event.option.id)
            self._show_draft()
            self.action_write()
            self._draw_soon()

    def search_for(self, term: str) -> None:
        """Search for what was typed on the page for that."""
        self.desk.run(TypedCommand("search", term))

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(TextPage("Help", help_text()))

    def action_contacts(self) -> None:
        """Turn to the contacts."""
        contacts = self._base.query_one(Contacts)
        # It can take the focus only once it is displayed.
        contacts.styles.display = "block"
        contacts.focus()
        self.call_after_refresh(lambda: contacts.styles.clear_rule("display"))

    def action_write(self) -> None:
        """Turn to the input."""
        self._composer.focus()

    def action_look(self) -> None:
        """Turn to the messages."""
        self._base.query_one(History).focus()

    def action_run(self, name: str) -> None:
        """Carry out a command by a key."""
        self.desk.run(TypedCommand(name, ""))

    def action_search(self) -> None:
        """Search, and jump to what is chosen."""

        def chosen(row: Mapping[str, Any] | None) -> None:
            if row is not None:
                self._keep_draft()
                self.desk.go(row)
                self._show_draft()
                self._draw_soon()

        self.push_screen(SearchPage(), chosen)

    def action_file(self) -> None:
        """Send a file to the contact that is shown."""
        if self.desk.model.contact is None:
            self._say("Choose a contact first: F2")
            return

        def chosen(path: str | None) -> None:
            if path is not None:
                self.desk.send_file(path)
                self._draw_soon()

        self.push_screen(FilePage(), chosen)

    async def action_leave(self, code: int = 0) -> None:
        """Leave, once what is just being handed to the node is on the disk or was not taken."""
        self._keep_draft()
        until_s = asyncio.get_running_loop().time() + _SENDING_S
        while self.desk.is_sending and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110 - a thread
            await asyncio.sleep(0.02)
        self.exit(code, return_code=code)

    def _say(self, text: str) -> None:
        self.desk.take(Noticed(text, is_error=True))
        self._draw_soon()

    # How it is drawn

    def _draw_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self.set_timer(_DRAW_S, self._draw)

    def _draw(self) -> None:
        self._is_due = False
        with suppress(LookupError):
            self._draw_contacts()
            self._draw_about()
            self._draw_status()
            self._base.query_one(History).refill()
            if self.desk.jump_to:
                self._base.query_one(History).jump(self.desk.jump_to)
                self.desk.jump_to = ""
            self.call_after_refresh(self._look)

    def _look(self, *, again: bool = False) -> None:
        """Ask for what will be on the screen soon, and mark as read what is on it and seen."""
        history, model = self._base.query_one(History), self.desk.model
        if model.contact is None:
            return
        if history.is_near_top and not model.conversation.is_whole:
            self.desk.older(again=again)
        if model.is_watched and len(self.screen_stack) == 1 and history.display:
            keys = {one.key for one in history.on_screen()}
            self.desk.shown(one for one in model.conversation.messages() if one.id in keys)

    def _draw_contacts(self) -> None:
        contacts = self._base.query_one(Contacts)
        listed = [(one.id, _listed(one)) for one in self.desk.model.contacts.values()]
        if listed == self._listed:
            return
        self._listed = listed
        at = contacts.highlighted
        chosen = None if at is None else contacts.get_option_at_index(at).id
        contacts.clear_options()
        contacts.add_options([Option(text, id=id_) for id_, text in listed])
        ids = [id_ for id_, _ in listed]
        if chosen in ids or self.desk.model.current in ids:
            contacts.highlighted = ids.index(chosen if chosen in ids else self.desk.model.current)
        elif ids:
            contacts.highlighted = 0

    def _draw_about(self) -> None:
        contact = self.desk.model.contact
        if contact is None:
            text = "Peerpost"
        else:
            text = f"{safe(contact.name)}: {words.contact_about(contact, datetime.now(UTC))}"
        if elsewhere := self.desk.model.unread_elsewhere():
            text = f"({elsewhere} new elsewhere) {text}"
        self._base.query_one("#about", Static).update(text)

    def _draw_status(self) -> None:
        model = self.desk.model
        status = self._base.query_one("#status", Static)
        text = model.link or model.notice or _KEYS
        status.update(safe_block(text))
        status.set_class(bool(model.link) or (bool(model.notice) and model.is_error), "bad")


def _listed(one: ChatContact) -> str:
    unread = f" ({one.unread})" if one.unread else ""
    return safe(f"{words.contact_mark(one)} {one.name}{unread}")


def _leave_by_signals(app: ChatApp) -> None:
    """Leave by a signal as by a key, so that the terminal is as it was: the handlers of a command raise anywhere."""
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                code = 128 + number
                loop.add_signal_handler(number, partial(app.exit, code, return_code=code))


def run(app: App, contacts: Sequence[dict[str, Any]], contact_id: str) -> int:
    """Chat until somebody leaves. Return the exit code."""
    if app.terminal.color == "never":
        os.environ["NO_COLOR"] = "1"
    install_paste_filter()
    chat = ChatApp(app, contacts, contact_id)
    # The terminal's own way to mark and copy text stays as it is.
    chat.run(mouse=False)
    chat.end()
    for name, text in chat.desk.model.unsent():
        app.terminal.warn(f"Not sent to {name}:")
        app.terminal.trace(text)
    return chat.return_code or 0
