"""The conversation that is shown: its messages as blocks of lines, of which one can be chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message as Told

from .. import words
from ..model import Model
from ..rows import ChatFile, ChatMessage
from .lines import Block, Line, Lines, in_lines

__all__ = ["History"]

_INDENT = "  "


class History(Lines):
    """Shows the current conversation of a model."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.contacts", "Contacts", show=False),
        Binding("up", "choose(-1)", "Up", show=False),
        Binding("down", "choose(1)", "Down", show=False),
        Binding("enter,r", "do('read')", "Read", show=False),
        Binding("s", "do('save')", "Save", show=False),
        Binding("a", "do('accept')", "Accept", show=False),
        Binding("x", "do('reject')", "Reject", show=False),
        Binding("p", "do('pause')", "Pause", show=False),
        Binding("u", "do('resume')", "Resume", show=False),
        Binding("c", "do('cancel')", "Cancel", show=False),
    ]

    class Acted(Told):
        """Somebody wants something done with what is chosen."""

        def __init__(self, act: str, id_: str) -> None:
            super().__init__()
            self.act = act
            self.id = id_

    class Scrolled(Told):
        """Other messages are on the screen now."""

    def __init__(self, model: Model) -> None:
        super().__init__(id="history")
        self._model = model
        self._made: dict[tuple[object, ...], Block] = {}
        self._shown_of = ""
        self._follows = True
        """Whether the end is looked at: it is still when more comes, or the screen gets smaller."""
        self._fitted = self.size

    def refill(self) -> None:
        """Show what the model knows now. Whoever looked at the end goes on to do so."""
        is_other = self._shown_of != self._model.current
        if is_other:
            self._shown_of = self._model.current
            self.chosen = None
            self._follows = True
        self._fitted = self.size
        self.show(list(self._blocks_now()), to_end=self._follows)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell that something else is on the screen."""
        super().watch_scroll_y(old_value, new_value)
        if self.size == self._fitted:
            self._follows = self.is_at_end
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled())

    @property
    def is_near_top(self) -> bool:
        """Whether older messages will be on the screen soon."""
        return self.scroll_offset.y < self.scrollable_content_region.height

    def jump(self, id_: str) -> None:
        """Choose a message, and show it."""
        self.chosen = id_
        self.reveal(id_)
        self.focus()
        self.refresh()

    def action_choose(self, by: int) -> None:
        """Choose the next block above or below."""
        keys = [one.key for one in self._blocks if isinstance(one.key, str)]
        if not keys:
            return
        at = keys.index(self.chosen) + by if self.chosen in keys else len(keys) - 1
        self.chosen = keys[min(max(0, at), len(keys) - 1)]
        self.reveal(self.chosen)
        self.refresh()

    def action_do(self, act: str) -> None:
        """Have something done with what is chosen; of a file, reading is saving."""
        id_ = self.chosen if isinstance(self.chosen, str) else ""
        one = self._model.conversation.find(id_) if id_ else None
        if act == "read" and one is not None and one.kind == "file":
            act = "save"
        moving = self._model.going_out(id_) if id_ else None
        if act in ("pause", "resume") and moving is not None:
            id_ = moving.id
        self.post_message(self.Acted(act, id_))

    # How it is laid out

    def _blocks_now(self) -> Iterable[Block]:
        model, conversation = self._model, self._model.conversation
        contact = model.contact
        if contact is None:
            yield Block(("hint",), tuple(self._nobody()))
            return
        messages = conversation.messages()
        if not conversation.is_loaded:
            yield _note("loading", "Loading...")
        elif not conversation.is_whole:
            yield _note("older", "(older messages come as you scroll up)")
        elif not messages and not conversation.unqueued:
            yield _note("none", "No messages yet.")
        made, self._made = self._made, {}
        day = ""
        for one in messages:
            if (its_day := words.day(one.at)) != day:
                day = its_day
                yield _note(("day", day), f"-- {day} --")
            if one.id == conversation.new_from:
                yield Block(("new",), (Line((("---- new ----", "new"),)),))
            if not one.incoming and (moving := model.going_out(one.id)) is not None:
                yield self._message(one, contact.name, moving)
                continue
            key = (one, contact.name, self.room)
            self._made[key] = made.get(key) or self._message(one, contact.name)
            yield self._made[key]
        for transfer in model.files_of(contact.id):
            yield self._block(transfer.id, words.transfer(transfer), "in")
        for out in conversation.unqueued:
            yield self._block(("out", out.key), words.unqueued(out), "out")

    def _message(self, one: ChatMessage, contact: str, moving: ChatFile | None = None) -> Block:
        shown = words.message(one, contact, moving=moving)
        return self._block(one.id, shown, "in" if one.incoming else "out")

    def _block(self, key: object, shown: words.Shown, style: str) -> Block:
        head = Line(((f"{shown.time} ".lstrip(), "dim"), (shown.who, style)))
        lines = [head]
        for line in shown.lines:
            lines += in_lines(line, self.room, indent=_INDENT)
        if shown.more:
            lines += in_lines(shown.more, self.room, "dim", _INDENT)
        if shown.state and not shown.is_bad and len(shown.state) < self.room - 20:
            lines[0] = Line((*head.parts, (f"  {shown.state}", "dim")))
        elif shown.state:
            lines += in_lines(shown.state, self.room, "bad" if shown.is_bad else "dim", _INDENT)
        return Block(key, tuple(lines))

    def _nobody(self) -> list[Line]:
        if not self._model.contacts:
            text = "There are no contacts yet. In another terminal: peerpost contacts invite NAME"
            return in_lines(text, self.room, "dim")
        return in_lines("Choose a contact: F2, then Enter. F1 shows the keys.", self.room, "dim")


def _note(key: object, text: str) -> Block:
    return Block((key,), (Line(((text, "dim"),)),))
