"""What a chat knows, and what each event makes of it. Nothing here asks the node, reads a clock or draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from peerpost.errors import BadInputError, NoInputError, NotFoundError, UsageError

from . import events
from .conversation import Conversation, Unqueued
from .events import ChatEvent
from .rows import ChatContact, ChatFile, ChatMessage

__all__ = ["Model"]

_MOST_STRAYS = 1000
"""How many messages are kept whose contact is not known yet: after a change of its name, for a moment."""

_FOR_GOOD = frozenset(
    error.exit_code for error in (UsageError, BadInputError, NoInputError, NotFoundError)
)


class Model:
    """All that is shown, whatever shows it."""

    def __init__(self) -> None:
        self.contacts: dict[str, ChatContact] = {}
        """By id, in the order of the node."""
        self.conversations: dict[str, Conversation] = {}
        self.current = ""
        """The id of the contact that is shown."""
        self.transfers: dict[str, ChatFile] = {}
        """Files under way, and those that have come to nothing since this began."""
        self.is_watched = True
        """Whether somebody looks at what is shown: what comes then is new to nobody."""
        self.link = ""
        """Why the node cannot be asked; empty while it answers."""
        self.notice = ""
        self.is_error = False
        self.search: events.SearchCame | None = None
        self.reading: events.ReadCame | None = None
        self._strays: list[ChatMessage] = []
        self._typed_so_far = 0
        self._apply: dict[type[ChatEvent], Callable[[Any], None]] = {
            events.ContactsCame: self._contacts_came,
            events.TurnedTo: self._opened,
            events.Typed: self._typed,
            events.PageCame: self._page_came,
            events.MessageCame: self._message_came,
            events.SentCame: self._sent_came,
            events.TransferCame: self._transfer_came,
            events.LookAgain: self._look_again,
            events.Linked: self._linked,
            events.Queued: self._queued,
            events.NotSent: self._not_sent,
            events.MarkedRead: self._marked_read,
            events.Noticed: self._noticed,
            events.SearchCame: self._search_came,
            events.ReadCame: self._read_came,
        }

    # What is known

    @property
    def contact(self) -> ChatContact | None:
        """Return the contact that is shown."""
        return self.contacts.get(self.current)

    @property
    def conversation(self) -> Conversation:
        """Return what is shown of it."""
        return self.with_contact(self.current)

    def with_contact(self, contact_id: str) -> Conversation:
        """Return the conversation with a contact."""
        return self.conversations.setdefault(contact_id, Conversation())

    def id_of(self, name: str) -> str | None:
        """Return the id of the contact with exactly this name."""
        return next((one.id for one in self.contacts.values() if one.name == name), None)

    def files_of(self, contact_id: str) -> list[ChatFile]:
        """Return the incoming files of a contact that are no messages yet, and those that came to nothing."""
        contact = self.contacts.get(contact_id)
        if contact is None:
            return []
        return [
            one for one in self.transfers.values() if one.incoming and one.contact == contact.name
        ]

    def going_out(self, message_id: str) -> ChatFile | None:
        """Return how far the file of a message is."""
        return next((one for one in self.transfers.values() if one.message == message_id), None)

    def unread_elsewhere(self) -> int:
        """Return how many messages of other contacts were not read yet."""
        return sum(one.unread for one in self.contacts.values() if one.id != self.current)

    def unsent(self) -> list[tuple[str, str]]:
        """Return what was typed and is not sent: names of contacts, and texts."""
        found = []
        for contact_id, conversation in self.conversations.items():
            contact = self.contacts.get(contact_id)
            name = contact_id if contact is None else contact.name
            texts = [one.text or one.path for one in conversation.unqueued if not one.id]
            found += [(name, text) for text in [*texts, conversation.draft] if text.strip()]
        return found

    # What happens

    def apply(self, event: ChatEvent) -> None:
        """Take an event."""
        self._apply[type(event)](event)

    def begin_sending(self, contact_id: str, given: Sequence[Unqueued]) -> None:
        """Note what is about to be handed to the node, which gets it in this order."""
        conversation = self.with_contact(contact_id)
        keys = {one.key for one in given}
        others = [one for one in conversation.unqueued if one.key not in keys]
        conversation.unqueued = [*others, *given]
        for one in given:
            one.why = ""
        conversation.new_from = ""

    def take_draft(self, contact_id: str, key: str) -> Unqueued:
        """Return the draft as something to send, and empty the input. `key` is used if it was not tried before.

        What was tried before may be queued although no answer came; under its old key it is not queued twice.
        """
        conversation = self.with_contact(contact_id)
        text = conversation.draft
        again = bool(conversation.draft_key) and conversation.tried == text
        self._typed_so_far += 1
        taken = Unqueued(
            key=conversation.draft_key if again else key,
            text=text,
            number=conversation.draft_number if again else self._typed_so_far,
        )
        conversation.draft = conversation.draft_key = conversation.tried = ""
        return taken

    def drop_failed(self, contact_id: str) -> int:
        """Forget what could not be sent. Return how much that was."""
        conversation = self.with_contact(contact_id)
        dropped = conversation.failed
        conversation.unqueued = [one for one in conversation.unqueued if not one.why]
        return len(dropped)

    def file_to_send(self, key: str, path: str) -> Unqueued:
        """Return a file as something to send."""
        self._typed_so_far += 1
        return Unqueued(key=key, text="", path=path, number=self._typed_so_far)

    def _contacts_came(self, event: events.ContactsCame) -> None:
        found = [ChatContact.of(row) for row in event.rows]
        # Who has an open ticket is no contact yet, and has the id of the ticket.
        self.contacts = {one.id: one for one in found if one.state != "invited"}
        strays, self._strays = self._strays, []
        for message in strays:
            self._put(message)

    def _opened(self, event: events.TurnedTo) -> None:
        if self.current in self.conversations and self.current != event.contact_id:
            self.conversation.new_from = ""
        self.current = event.contact_id
        self._set_new_mark(event.contact_id)

    def _set_new_mark(self, contact_id: str) -> None:
        """Put the mark before the first message that was not read, if there is none yet."""
        conversation = self.with_contact(contact_id)
        if conversation.new_from or contact_id != self.current:
            return
        unread = [one.id for one in conversation.messages() if one.incoming and one.unread]
        conversation.new_from = unread[0] if unread else ""

    def _typed(self, event: events.Typed) -> None:
        self.with_contact(event.contact_id).draft = event.text

    def _page_came(self, event: events.PageCame) -> None:
        conversation = self.with_contact(event.contact_id)
        made = ChatMessage.received if event.incoming else ChatMessage.sent
        was_loaded = conversation.is_loaded
        side = conversation.side(incoming=event.incoming)
        side.page([made(row) for row in event.rows], after=event.after, is_last=event.is_last)
        conversation.drop_what_is_told()
        if not was_loaded and conversation.is_loaded:
            self._set_new_mark(event.contact_id)

    def _message_came(self, event: events.MessageCame) -> None:
        self._put(ChatMessage.received(event.row))

    def _sent_came(self, event: events.SentCame) -> None:
        row: Mapping[str, Any] = event.row
        self._put(ChatMessage.sent(row))

    def _put(self, message: ChatMessage) -> None:
        contact_id = self.id_of(message.contact)
        if contact_id is None:
            self._strays = [*self._strays, message][-_MOST_STRAYS:]
            return
        side = self.with_contact(contact_id).side(incoming=message.incoming)
        known = side.find(message.id)
        if known is not None and known.text and message.is_cut and not known.is_cut:
            # This row has the beginning alone, and all of it is known.
            message = replace(message, text=known.text, is_cut=False)
        side.put(message)
        self.with_contact(contact_id).drop_what_is_told()
        if not self.is_watched:
            self._set_new_mark(contact_id)

    def _transfer_came(self, event: events.TransferCame) -> None:
        transfer = ChatFile.of(event.row)
        if transfer.state == "done" or (not transfer.incoming and not transfer.is_open):
            # It is a message now, or its message says what became of it.
            self.transfers.pop(transfer.id, None)
        else:
            self.transfers[transfer.id] = transfer

    def _look_again(self, _: events.LookAgain) -> None:
        """Leave it to whoever asks the node."""

    def _linked(self, event: events.Linked) -> None:
        self.link = event.why
        if not event.why:
            # Another stream has begun, and tells of those that are open.
            self.transfers = {id_: one for id_, one in self.transfers.items() if not one.is_open}

    def _queued(self, event: events.Queued) -> None:
        conversation = self.with_contact(event.contact_id)
        for one in conversation.unqueued:
            if one.key == event.key:
                one.id = str(event.row["id"])
        conversation.drop_what_is_told()

    def _not_sent(self, event: events.NotSent) -> None:
        """Put a text back into the input if that is free; else it stays where it is shown, with why.

        A file that can never be sent so, as when there is none of that name, is not tried again.
        """
        conversation = self.with_contact(event.contact_id)
        for one in conversation.unqueued:
            if one.key != event.key:
                continue
            if one.path and event.exit_code in _FOR_GOOD:
                conversation.unqueued.remove(one)
            elif one.path or conversation.draft.strip() or conversation.failed:
                one.why = event.why
            else:
                conversation.unqueued.remove(one)
                conversation.draft = conversation.tried = one.text
                conversation.draft_key, conversation.draft_number = one.key, one.number
            break
        self._noticed(events.Noticed(event.why, is_error=True))

    def _marked_read(self, event: events.MarkedRead) -> None:
        ids = set(event.ids)
        for conversation in self.conversations.values():
            for message in conversation.received.newest_first:
                if message.id in ids and message.unread:
                    conversation.received.put(replace(message, unread=False))

    def _noticed(self, event: events.Noticed) -> None:
        self.notice, self.is_error = event.text, event.is_error

    def _search_came(self, event: events.SearchCame) -> None:
        self.search = event

    def _read_came(self, event: events.ReadCame) -> None:
        self.reading = event
