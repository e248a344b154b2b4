"""The chat as plain lines, for a screen reader, a terminal that cannot do more, or a pipe.

A line is printed once and never changed. What a peer wrote stands behind its name, and further lines of it behind a
bar, so that no text can look like somebody else's message or like a line of this program, which begins with a star.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from peerpost.errors import UsageError

from ..safe import safe
from . import words
from .calls import NO_ANSWER, Calls
from .desk import Desk
from .events import (
    ChatEvent,
    Linked,
    MessageCame,
    Noticed,
    NotSent,
    PageCame,
    Queued,
    ReadCame,
    SearchCame,
    SentCame,
    TransferCame,
    TurnedTo,
)
from .feeds import Feeds
from .rows import WAITING, ChatFile, ChatMessage
from .typed import COMMANDS, NoCommandError, TypedCommand, TypedText, read_line

if TYPE_CHECKING:
    from ..app import App

__all__ = ["Linear"]

_FIRST_ROWS = 10
"""How many messages are printed when somebody turns to a contact."""
_MORE_ROWS = 20
_TICK_S = 0.5
"""How often to look whether all is done after the end of the input."""


class Linear:
    """One chat, in lines."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._events: SimpleQueue[ChatEvent | None] = SimpleQueue()
        self._lines: SimpleQueue[str] = SimpleQueue()
        """What was typed. The next line is taken once all is done that the one before has asked for, as in a script."""
        calls = Calls(app, on_wait=lambda: self._events.put(Noticed(NO_ANSWER, is_error=True)))
        self._desk = Desk(calls, self._events.put)
        self._feeds = Feeds(calls, self._events.put)
        self._told: dict[str, str] = {}
        """Of what was sent here, and of files: what was said last of each."""
        self._printed: set[str] = set()
        self._back_to: dict[str, int] = {}
        """Of each contact: how many of its messages were printed, counted from the newest."""
        self._wants_first = False
        """Whether the newest messages of the contact are to be printed once they have come."""
        self._wants_more = False
        self._at_prompt = False
        self._has_ended = self._has_quit = False
        self._code = 0
        """2 if something went wrong that is not about sending."""

    def run(self, contacts: list[dict[str, Any]], contact_id: str) -> int:
        """Chat until the input ends and all that it asked for is done, or /quit. Return the exit code."""
        self._desk.begin(contacts)
        self._feeds.start()
        threading.Thread(target=self._read_lines, name="chat-input", daemon=True).start()
        try:
            if contact_id:
                self._turn_to(contact_id)
            else:
                self._list_contacts()
                self._note("Say to whom with /to NAME; /help has all that can be typed.")
            while self._goes_on():
                self._prompt()
                with suppress(Empty):
                    self._take(self._events.get(timeout=_TICK_S))
        finally:
            self._feeds.close()
            self._say_unsent()
        return self._desk.exit_code or self._code

    def _goes_on(self) -> bool:
        """Take what was typed, if its turn has come. Return whether there is more to do."""
        is_idle = not self._desk.is_busy and self._events.empty()
        if is_idle and not self._lines.empty():
            self._at_prompt = False
            self._typed(self._lines.get())
            return not self._has_quit
        return not (self._has_quit or (self._has_ended and is_idle))

    def _read_lines(self) -> None:
        stdin = sys.stdin
        try:
            for line in stdin:
                self._lines.put(line.removesuffix("\n"))
                self._events.put(None)
        except (OSError, ValueError) as error:
            self._events.put(Noticed(f"the input cannot be read: {error}", is_error=True))
        self._has_ended = True
        self._events.put(None)

    # What is typed

    def _take(self, event: ChatEvent | None) -> None:
        if event is not None:
            self._desk.take(event)
            self._tell(event)

    def _typed(self, line: str) -> None:
        try:
            typed = read_line(line)
        except NoCommandError as error:
            self._fail(str(error))
            return
        match typed:
            case TypedText():
                if self._desk.model.contact is None:
                    self._fail("say to whom first: /to NAME")
                    self._print([f"| {part}" for part in words.in_lines(typed.text)])
                else:
                    self._desk.send(typed.text)
            case TypedCommand(name="quit"):
                self._has_quit = True
            case TypedCommand(name="help"):
                self._help()
            case TypedCommand(name="contacts"):
                self._list_contacts()
            case TypedCommand(name="more"):
                self._more()
            case TypedCommand(name="to"):
                self._to(typed)
            case TypedCommand():
                self._desk.run(typed)

    def _to(self, command: TypedCommand) -> None:
        contact_id = self._desk.model.id_of(command.rest)
        if contact_id is None:
            self._desk.run(command)
        else:
            self._turn_to(contact_id)

    def _turn_to(self, contact_id: str) -> None:
        self._wants_first = True
        self._desk.open(contact_id)
        contact = self._desk.model.contact
        if contact is not None:
            self._note(f"With {contact.name}: {words.contact_about(contact, datetime.now(UTC))}")
        self._print_first()

    def _more(self) -> None:
        conversation = self._desk.model.conversation
        if self._desk.model.contact is None:
            self._fail("say to whom first: /to NAME")
            return
        known = len(conversation.messages())
        printed = self._back_to.get(self._desk.model.current, 0)
        if known - printed < _MORE_ROWS and not conversation.is_whole:
            self._wants_more = True
            self._desk.older(again=True)
        else:
            self._print_older(_MORE_ROWS)

    def _help(self) -> None:
        lines = [f"/{name} {takes}".ljust(22) + about for name, (takes, about) in COMMANDS.items()]
        self._print(["All else is sent. A text that begins with / is typed with two: //", *lines])

    def _list_contacts(self) -> None:
        at = datetime.now(UTC)
        for one in self._desk.model.contacts.values():
            unread = f"; {one.unread} not read" if one.unread else ""
            self._print([f"{safe(one.name)}: {words.contact_about(one, at)}{unread}"])
        if not self._desk.model.contacts:
            self._note("There are no contacts yet: peerpost contacts invite NAME")

    # What comes

    def _tell(self, event: ChatEvent) -> None:
        match event:
            case PageCame() | TurnedTo():
                self._print_first()
                if self._wants_more and self._desk.model.conversation.is_loaded:
                    self._wants_more = False
                    self._print_older(_MORE_ROWS)
            case MessageCame(row=row):
                self._came(ChatMessage.received(row))
            case SentCame(row=row):
                self._sent(ChatMessage.sent(row))
            case Queued(row=row):
                self._told.setdefault(str(row["id"]), "")
            case TransferCame(row=row):
                self._file(ChatFile.of(row))
            case NotSent(why=why):
                self._fail(f"not sent: {why}; /again sends it once more")
            case Noticed(text=text, is_error=is_error):
                (self._fail if is_error else self._note)(text)
            case Linked(why=why):
                if why != self._told.get("link", ""):
                    self._told["link"] = why
                    self._note(why or "The node answers again.")
            case ReadCame():
                self._print([f"* {safe(event.title)}"])
                self._print([f"| {line}" for line in words.in_lines(event.text)])
                if event.left:
                    self._note(event.left)
            case SearchCame(rows=rows):
                for number, row in enumerate(rows, 1):
                    self._print([f"{number}. {words.hit(row)}"])
                self._note("/go N jumps there" if rows else "Nothing found.")
        if self._desk.jump_to:
            self._print_around(self._desk.jump_to)
            self._desk.jump_to = ""

    def _came(self, message: ChatMessage) -> None:
        model = self._desk.model
        if message.id in self._printed:
            return
        contact_id = model.id_of(message.contact)
        here = contact_id is not None and contact_id == model.current
        if here and not self._wants_first:
            self._print_message(message)
            self._back_to[model.current] = self._back_to.get(model.current, 0) + 1
        elif not here:
            self._note(f"{message.contact} has sent something: /to {message.contact}")

    def _sent(self, message: ChatMessage) -> None:
        """Say what became of what was sent here: that it arrived, or why it did not."""
        last = self._told.get(message.id)
        if last is None or message.state == last:
            return
        if message.state in WAITING and not message.why.startswith("asking:"):
            return
        self._told[message.id] = message.state
        state, is_bad = words.outgoing_state(message)
        what = message.name or " ".join(message.text.split())[:40]
        (self._fail if is_bad else self._note)(f"{message.id} {state}: {what}")

    def _file(self, one: ChatFile) -> None:
        """Say what asks to be accepted, and what becomes of a file; of its progress only each quarter."""
        share = int(4 * (one.row.get("progress") or 0))
        now = f"{one.state} {share if one.state == 'active' else ''}"
        if self._told.get(f"file {one.id}") == now or (not one.incoming and one.state != "active"):
            return
        self._told[f"file {one.id}"] = now
        if one.incoming and one.state == "done":
            return
        shown = words.transfer(one)
        way = "from" if one.incoming else "to"
        self._note(f"{way} {one.contact}: {one.name}: {shown.state}")

    # How it is printed

    def _print_first(self) -> None:
        """Print the newest messages of the contact, once both sides of them have come."""
        model = self._desk.model
        if not self._wants_first or not model.conversation.is_loaded:
            return
        self._wants_first = False
        messages = model.conversation.messages()
        unread = [at for at, one in enumerate(messages) if one.incoming and one.unread]
        begin = max(0, len(messages) - _FIRST_ROWS)
        begin = min(begin, unread[0]) if unread else begin
        self._back_to[model.current] = len(messages) - begin
        if begin or not model.conversation.is_whole:
            self._note("There is more: /more")
        self._print_messages(messages[begin:])
        for one in model.files_of(model.current):
            self._file(one)

    def _print_older(self, count: int) -> None:
        model = self._desk.model
        messages = model.conversation.messages()
        end = len(messages) - self._back_to.get(model.current, 0)
        begin = max(0, end - count)
        if begin >= end:
            self._note("That was all.")
            return
        self._back_to[model.current] = len(messages) - begin
        self._print_messages(messages[begin:end])

    def _print_around(self, id_: str) -> None:
        self._wants_first = False
        messages = self._desk.model.conversation.messages()
        at = next((at for at, one in enumerate(messages) if one.id == id_), 0)
        self._print_messages(messages[max(0, at - 3) : at + 4])

    def _print_messages(self, messages: Iterable[ChatMessage]) -> None:
        day = ""
        for one in messages:
            if one.id == self._desk.model.conversation.new_from:
                self._note("new:")
            if (its_day := words.day(one.at)) != day:
                day = its_day
                self._note(day)
            self._print_message(one)

    def _print_message(self, one: ChatMessage) -> None:
        contact = self._desk.model.contact
        shown = words.message(one, one.contact if contact is None else contact.name)
        state = "" if shown.state in ("", "delivered") else f" [{shown.state}]"
        id_ = f" ({one.id})" if shown.is_file or shown.more else ""
        first, *rest = shown.lines
        self._print([f"{shown.time} {shown.who}: {first}{id_}{state}", *(f"| {x}" for x in rest)])
        if shown.more:
            self._print([f"| {shown.more}"])
        self._printed.add(one.id)
        self._desk.shown([one])

    def _print(self, lines: list[str]) -> None:
        """Print lines, which are harmless by now; once more for those that somebody will add."""
        self._leave_prompt()
        for line in lines:
            self._app.terminal.text(line)

    def _note(self, text: str) -> None:
        self._leave_prompt()
        self._app.terminal.note(f"* {text}")

    def _fail(self, text: str) -> None:
        self._code = UsageError.exit_code
        self._leave_prompt()
        self._app.terminal.warn(f"* error: {text}")

    def _prompt(self) -> None:
        if self._at_prompt or self._has_ended or not self._app.terminal.can_ask():
            return
        contact = self._desk.model.contact
        self._app.terminal.ask("> " if contact is None else f"{contact.name}> ")
        self._at_prompt = True

    def _leave_prompt(self) -> None:
        if self._at_prompt:
            self._at_prompt = False
            self._app.terminal.leave_question()

    def _say_unsent(self) -> None:
        while not self._lines.empty():
            self._fail("not done any more:")
            self._print([f"| {safe(self._lines.get())}"])
        for name, text in self._desk.model.unsent():
            self._fail(f"not sent to {name}:")
            self._print([f"| {line}" for line in words.in_lines(text)])
