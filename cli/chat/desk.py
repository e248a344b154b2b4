"""Where a chat is worked: takes what somebody does and what comes, asks the node in threads, and tells the model.

Everything but the jobs runs in the thread of whoever shows the model. A job runs in a thread of its kind, one after
another, and hands over events by `post`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any

from peerpost.errors import PeerpostError

from .calls import Calls
from .conversation import PAGE_ROWS, Unqueued
from .events import (
    ChatEvent,
    ContactsCame,
    LookAgain,
    MarkedRead,
    Noticed,
    NotSent,
    PageCame,
    Queued,
    ReadCame,
    SearchCame,
    TurnedTo,
    Typed,
)
from .model import Model
from .rows import WAITING, ChatMessage
from .typed import TypedCommand
from .words import contact_details, identity_details

__all__ = ["Desk"]

_JUMP_ROWS = 400
"""How many messages are asked for at once on the way to one far back."""

Job = Callable[[], Iterable[ChatEvent]]


class _Jobs:
    """Jobs, one after another in a thread, which no exit waits for: a node that is stopped would keep it for ever."""

    def __init__(self, post: Callable[[ChatEvent], object]) -> None:
        self._post = post
        self._queue: SimpleQueue[tuple[Job, Callable[[PeerpostError], ChatEvent]]] = SimpleQueue()
        self.open = 0
        """How many have not ended."""
        self._lock = threading.Lock()
        self._began = False

    def add(self, job: Job, failed: Callable[[PeerpostError], ChatEvent]) -> None:
        """Do a job once its turn comes; `failed` makes the event of an error."""
        with self._lock:
            self.open += 1
        if not self._began:
            self._began = True
            threading.Thread(target=self._work, name="chat-jobs", daemon=True).start()
        self._queue.put((job, failed))

    def _work(self) -> None:
        while True:
            job, failed = self._queue.get()
            try:
                for event in job():
                    self._post(event)
            except PeerpostError as error:
                self._post(failed(error))
            except OSError as error:
                self._post(failed(PeerpostError(error.strerror or str(error))))
            finally:
                with self._lock:
                    self.open -= 1


class Desk:
    """One chat."""

    def __init__(self, calls: Calls, post: Callable[[ChatEvent], object]) -> None:
        """`post` takes an event from any thread, and has it handed to `take` in the thread that shows the model."""
        self.model = Model()
        self._calls = calls
        self._post = post
        self._sends, self._looks, self._acts, self._reads = (_Jobs(post) for _ in range(4))
        self._asked: set[tuple[str, bool]] = set()
        """The sides of which a page was asked for and has not come."""
        self._has_failed = False
        """Whether a page could not be had: it is asked for again when somebody does something, or a node is back."""
        self._marking: set[str] = set()
        """What is being marked as read, or could not be: that is tried again in the same cases."""
        self._wanted = ""
        """The id of a message to jump to, of which older pages are being loaded."""
        self.jump_to = ""
        """The id of a message that was looked for and is loaded. Whoever shows the model goes there, and clears it."""
        self.exit_code = 0
        """Of the first thing that could not be sent."""

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for has not been done."""
        jobs = (self._sends, self._looks, self._acts, self._reads)
        return any(one.open for one in jobs)

    @property
    def is_sending(self) -> bool:
        """Whether something is being handed to the node to be sent."""
        return bool(self._sends.open)

    # What comes

    def take(self, event: ChatEvent) -> None:
        """Take an event: the model learns of it, and what follows from it is asked for."""
        self.model.apply(event)
        match event:
            case LookAgain():
                self._look_again()
            case PageCame(contact_id=contact_id, incoming=incoming):
                self._asked.discard((contact_id, incoming))
                self._go_on_jumping()
            case MarkedRead(ids=ids):
                self._marking -= set(ids)
            case NotSent(exit_code=code):
                self.exit_code = self.exit_code or code

    def _look_again(self) -> None:
        self._asked.clear()
        self._try_again()
        for contact_id, conversation in self.model.conversations.items():
            if contact_id == self.model.current or conversation.is_loaded:
                self._load(contact_id, newest=True)

    # What somebody does

    def begin(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take the contacts that there are in the beginning."""
        self.take(ContactsCame(rows))

    def open(self, contact_id: str) -> None:
        """Turn to a contact."""
        self._try_again()
        self.take(TurnedTo(contact_id))
        self._load(contact_id, newest=True)

    def older(self, *, again: bool = False) -> None:
        """Ask for older messages of the contact that is shown, if there are any and none were asked for.

        After a failure nothing is asked for but `again`, because somebody wants it: what is drawn when an error comes
        would else ask at once.
        """
        self._has_failed = self._has_failed and not again
        if not self._has_failed:
            self._load(self.model.current)

    def _try_again(self) -> None:
        self._has_failed = False
        self._marking.clear()

    def draft(self, text: str) -> None:
        """Note what stands in the input."""
        if self.model.current:
            self.take(Typed(self.model.current, text))

    def send(self, text: str) -> None:
        """Send a text to the contact that is shown."""
        contact_id = self.model.current
        self.draft(text)
        self._send(contact_id, [self.model.take_draft(contact_id, f"chat {secrets.token_hex(12)}")])

    def send_file(self, path: str) -> None:
        """Send a file or a folder to the contact that is shown."""
        self._send(self.model.current, [self.model.file_to_send(secrets.token_hex(8), path)])

    def _send(self, contact_id: str, given: list[Unqueued]) -> None:
        """Send what is given, and what could not be sent before, in the order in which it was typed."""
        failed = self.model.with_contact(contact_id).failed
        ordered = sorted([*failed, *given], key=lambda one: one.number)
        self.model.begin_sending(contact_id, ordered)
        for one in ordered:
            self._hand_over(contact_id, one)

    def _hand_over(self, contact_id: str, outgoing: Unqueued) -> None:
        def job() -> Iterable[ChatEvent]:
            if outgoing.path:
                row = self._calls.send_file(contact_id, outgoing.path)
            else:
                row = self._calls.send_text(contact_id, outgoing.text, outgoing.key)
            yield Queued(contact_id, outgoing.key, row)
            for skipped in row.get("skipped", ()):
                yield Noticed(f"not sent: {skipped}")
            if row.get("hint"):
                yield Noticed(f"It is queued, and waits: {row['last_error']}. {row['hint']}")

        self._sends.add(
            job,
            lambda error: NotSent(contact_id, outgoing.key, _in_words(error), error.exit_code),
        )

    def shown(self, messages: Iterable[ChatMessage]) -> None:
        """Mark messages as read that somebody has seen."""
        ids = [one.id for one in messages if one.incoming and one.unread]
        ids = [id_ for id_ in ids if id_ not in self._marking]
        if not ids:
            return
        self._marking |= set(ids)

        def job() -> Iterable[ChatEvent]:
            self._calls.mark_read(ids)
            yield MarkedRead(ids)

        def failed(error: PeerpostError) -> ChatEvent:
            return Noticed(f"They stay unread: {error.message}", is_error=True)

        self._reads.add(job, failed)

    def jump(self, contact_id: str, message_id: str) -> None:
        """Turn to a contact, and load its messages back to one of them."""
        self._wanted = message_id
        self.open(contact_id)
        self._go_on_jumping()

    def _go_on_jumping(self) -> None:
        if not self._wanted:
            return
        conversation = self.model.conversation
        if any(one.id == self._wanted for one in conversation.messages()):
            self.jump_to, self._wanted = self._wanted, ""
        elif conversation.is_loaded and conversation.is_whole:
            self._wanted = ""
            self._fail("that message is gone")
        else:
            self._load(self.model.current, count=_JUMP_ROWS)

    def _load(self, contact_id: str, *, newest: bool = False, count: int = PAGE_ROWS) -> None:
        if not contact_id:
            return
        conversation = self.model.with_contact(contact_id)
        for incoming in (True, False) if newest else conversation.lacking():
            if (contact_id, incoming) in self._asked:
                continue
            self._asked.add((contact_id, incoming))
            after = None if newest else conversation.side(incoming=incoming).oldest_place
            self._looks.add(
                self._page(contact_id, incoming=incoming, after=after, count=count),
                self._page_failed(contact_id, incoming=incoming),
            )

    def _page(self, contact_id: str, *, incoming: bool, after: int | None, count: int) -> Job:
        def job() -> Iterable[ChatEvent]:
            rows, is_last = self._calls.page(
                contact_id, incoming=incoming, after=after, count=count
            )
            yield PageCame(contact_id, incoming, rows, after, is_last)

        return job

    def _page_failed(
        self, contact_id: str, *, incoming: bool
    ) -> Callable[[PeerpostError], ChatEvent]:
        def failed(error: PeerpostError) -> ChatEvent:
            self._asked.discard((contact_id, incoming))
            self._has_failed = True
            return Noticed(_in_words(error), is_error=True)

        return failed

    # Commands, but for those that are about how it is shown

    def run(self, command: TypedCommand) -> None:
        """Carry out a command."""
        done = getattr(self, f"_run_{command.name}", None)
        if done is not None:
            done(command)

    def _run_to(self, command: TypedCommand) -> None:
        contact_id = self.model.id_of(command.rest)
        if contact_id is None:
            import difflib

            names = [one.name for one in self.model.contacts.values()]
            near = difflib.get_close_matches(command.rest, names, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ": /contacts has them"
            self._fail(f"there is no contact {command.rest!r}{meant}")
        else:
            self.open(contact_id)

    def _run_more(self, _: TypedCommand) -> None:
        self.older(again=True)

    def _run_file(self, command: TypedCommand) -> None:
        if self._has_contact():
            self.send_file(command.rest)

    def _run_again(self, _: TypedCommand) -> None:
        conversation = self.model.conversation
        if conversation.draft.strip():
            self.send(conversation.draft)
        elif conversation.failed:
            self._send(self.model.current, [])
        else:
            self._fail("there is nothing that could not be sent")

    def _run_drop(self, _: TypedCommand) -> None:
        dropped = self.model.drop_failed(self.model.current)
        if self.model.conversation.tried == self.model.conversation.draft:
            dropped += bool(self.model.conversation.draft)
            self.draft("")
        self._post(Noticed(f"{dropped} dropped"))

    def _run_search(self, command: TypedCommand) -> None:
        def job() -> Iterable[ChatEvent]:
            yield SearchCame(command.rest, self._calls.search(command.rest))

        self._do(job)

    def _run_go(self, command: TypedCommand) -> None:
        rows = [] if self.model.search is None else self.model.search.rows
        number = int(command.rest) if command.rest.isdecimal() else 0
        if not 1 <= number <= len(rows):
            self._fail("there is no hit of that number: /search finds messages")
            return
        self.go(rows[number - 1])

    def go(self, row: Any) -> None:
        """Jump to what a search has found."""
        contact_id = self.model.id_of(str(row["contact"]))
        if contact_id is None:
            self._fail("who that was from or to is no contact any more: peerpost inbox show")
        else:
            self.jump(contact_id, str(row["id"]))

    def _run_accept(self, command: TypedCommand) -> None:
        self._transfer("accept", command.rest, {"asking"})

    def _run_reject(self, command: TypedCommand) -> None:
        self._transfer("reject", command.rest, {"asking", "offered", "active", "paused"})

    def _run_pause(self, command: TypedCommand) -> None:
        self._transfer("pause", command.rest, {"active", "offered"}, incoming_only=False)

    def _run_resume(self, command: TypedCommand) -> None:
        self._transfer("resume", command.rest, {"paused"}, incoming_only=False)

    def _transfer(
        self, act: str, id_: str, states: set[str], *, incoming_only: bool = True
    ) -> None:
        contact = self.model.contact
        if not id_ and contact is not None:
            fitting = [
                one.id
                for one in self.model.transfers.values()
                if one.state in states
                and one.contact == contact.name
                and (one.incoming or not incoming_only)
            ]
            id_ = fitting[-1] if fitting else ""
        if not id_:
            self._fail(f"there is no file to {act} here")
            return

        def job() -> Iterable[ChatEvent]:
            row = self._calls.ask(f"transfers.{act}", id=id_)
            yield Noticed(f"{row.get('name') or row['id']}: {row['state']}")

        self._do(job)

    def _run_cancel(self, command: TypedCommand) -> None:
        def job() -> Iterable[ChatEvent]:
            row = self._calls.ask("queue.cancel", id=command.rest)
            yield Noticed(f"{row['id']} is {row['state']}")

        self._do(job)

    def _run_save(self, command: TypedCommand) -> None:
        id_, path = command.words
        found = id_ or self._newest(lambda one: one.incoming and one.kind == "file")
        if not found:
            self._fail("there is no file to save here: /save ID saves a message")
            return

        def job() -> Iterable[ChatEvent]:
            yield Noticed(self._calls.save(found, path))
            yield MarkedRead([found])

        self._do(job)

    def _run_read(self, command: TypedCommand) -> None:
        found = command.rest or self._newest(lambda one: bool(one.text))
        if not found:
            self._fail("there is no text to read here")
            return
        known = self.model.conversation.find(found)
        # An id that is not known here may be a beginning, most likely of what was received.
        incoming = known.incoming if known is not None else self._is_received(found)

        def job() -> Iterable[ChatEvent]:
            row, text, has_more = self._calls.read(found, incoming=incoming)
            left = f"There is more of it: save it with /save {row['id']}" if has_more else ""
            who = f"from {row['contact']}" if incoming else f"to {row['contact']}"
            yield ReadCame(f"{row['id']} {who}", text, left)

        self._do(job)

    def _is_received(self, beginning: str) -> bool:
        sent = self.model.conversation.sent.newest_first
        return not any(one.id.startswith(beginning) for one in sent)

    def _run_me(self, _: TypedCommand) -> None:
        def job() -> Iterable[ChatEvent]:
            yield ReadCame("You", identity_details(self._calls.ask("identity.show")))

        self._do(job)

    def _run_number(self, _: TypedCommand) -> None:
        contact = self.model.contact
        if contact is None or not self._has_contact():
            return

        def job() -> Iterable[ChatEvent]:
            row = self._calls.ask("contacts.show", name=contact.id)
            yield ReadCame(contact.name, contact_details(row))

        self._do(job)

    def cancellable(self) -> str:
        """Return the id of the newest message that is not delivered yet."""
        return self._newest(lambda one: not one.incoming and one.state in WAITING)

    def _newest(self, fits: Callable[[ChatMessage], bool]) -> str:
        found = (one.id for one in reversed(self.model.conversation.messages()) if fits(one))
        return next(found, "")

    def _has_contact(self) -> bool:
        if self.model.contact is None:
            self._fail("say to whom first: /to NAME; /contacts has them")
        return self.model.contact is not None

    def _do(self, job: Job) -> None:
        self._acts.add(job, lambda error: Noticed(_in_words(error), is_error=True))

    def _fail(self, text: str) -> None:
        self._post(Noticed(text, is_error=True))


def _in_words(error: PeerpostError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
